// Leaves the guest as often as it is run: how long does a round trip to userspace take?
#include "guest.inc"
    .global _start
_start:
    outb    %al, $0xe0
    jmp     _start
