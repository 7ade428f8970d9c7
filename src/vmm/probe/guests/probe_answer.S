// Asks port 0xe0 for a byte, then halts: is an IN complete, and its answer in AL, when KVM says so?
#include "guest.inc"
    .global _start
_start:
    inb     $0xe0, %al
    hlt
    stop
