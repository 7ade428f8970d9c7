// Takes a count from port 0xe0 and runs that many turns without an exit. Each turn has two conditional
// branches, one never taken and one taken but for the last turn, and an unconditional one: counters of
// all, of taken and of conditional branches give three different numbers.
#include "guest.inc"
    .global _start
_start:
    inl     $0xe0, %eax
    movl    %eax, %ecx
turn:
    testq   %rsp, %rsp
    jz      turn
    jmp     1f
1:  decq    %rcx
    jnz     turn
    outb    %al, $0xe1
    stop
