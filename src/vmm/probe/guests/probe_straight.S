// Takes a count from port 0xe0 and runs that many turns of two instructions without an exit, over and
// over: how fast is straight code?
#include "guest.inc"
    .global _start
_start:
    inl     $0xe0, %eax
    movl    %eax, %ecx
turn:
    decq    %rcx
    jnz     turn
    outb    %al, $0xe1
    jmp     _start
