// Writes one page, exits, writes it again and another too, exits: does KVM say which pages were written
// since it was last asked?
#include "guest.inc"
    .global _start
_start:
    movq    $SCRATCH, %rdi
    movb    $1, 0x3000(%rdi)
    outb    %al, $0xe0
    movb    $2, 0x3000(%rdi)
    movb    $2, 0x5000(%rdi)
    outb    %al, $0xe0
    stop
