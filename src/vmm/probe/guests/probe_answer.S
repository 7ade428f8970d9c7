// Asks port 0xe0 for a byte, gives it back on port 0xe1, halts, and says 1 on port 0xe1 when run on: is an
// IN complete, and its answer in AL, when KVM says so?
#include "guest.inc"
    .global _start
_start:
    inb     $0xe0, %al
    outb    %al, $0xe1
    hlt
    movb    $1, %al
    outb    %al, $0xe1
    stop
