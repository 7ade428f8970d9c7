// String I/O over page borders, in both directions.
// To be seen: 3000 bytes taken by REP INSB from port 0xe0, to an address 1000 bytes before the end of a
// page; the same 3000 bytes given back by REP OUTSB on port 0xe1; 600 words of the same by REP OUTSW
// backwards (RFLAGS.DF) on port 0xe2; RCX, which must be 0, on port 0xe3; HLT. KVM may split each into
// as many exits as it likes.
#include "guest.inc"
    .set BUFFER, SCRATCH + 0x1000 - 1000
    .global _start
_start:
    movq    $BUFFER, %rdi
    movl    $3000, %ecx
    movw    $0xe0, %dx
    rep insb
    movq    $BUFFER, %rsi
    movl    $3000, %ecx
    movw    $0xe1, %dx
    rep outsb
    std
    movq    $(BUFFER + 1198), %rsi
    movl    $600, %ecx
    movw    $0xe2, %dx
    rep outsw
    cld
    movl    %ecx, %eax
    outl    %eax, $0xe3
    stop
