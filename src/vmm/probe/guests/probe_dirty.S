// Writes one page, exits, writes another, exits: does KVM say which pages were written?
#include "guest.inc"
    .global _start
_start:
    movq    $SCRATCH, %rdi
    movb    $1, 0x3000(%rdi)
    outb    %al, $0xe0
    movb    $1, 0x5000(%rdi)
    outb    %al, $0xe0
    stop
