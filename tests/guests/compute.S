// A loop of as many turns as port 0xe0 says (8 bytes, low half first), without an exit.
// To be seen: after any number of interruptions, the right sum: RAX starts at 0x12345678 and each turn
// makes it RAX * 6364136223846793005 + 1442695040888963407 (mod 2^64). Printed on port 0xe1, low half
// first; HLT; then the same again.
#include "guest.inc"
    .global _start
_start:
    inl     $0xe0, %eax
    movl    %eax, %ecx
    inl     $0xe0, %eax
    shlq    $32, %rax
    orq     %rax, %rcx
    movl    $0x12345678, %eax
    movabsq $6364136223846793005, %rbx
    movabsq $1442695040888963407, %rdx
turn:
    imulq   %rbx, %rax
    addq    %rdx, %rax
    decq    %rcx
    jnz     turn
    outl    %eax, $0xe1
    shrq    $32, %rax
    outl    %eax, $0xe1
    hlt
    jmp     _start
