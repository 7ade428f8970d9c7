// Tells where `marked` and `word` are (ports 0xe0 and 0xe1), then runs straight over the first and
// writes the second: do single steps, breakpoints and watchpoints stop where they should?
#include "guest.inc"
    .global _start
_start:
    leaq    marked(%rip), %rax
    outl    %eax, $0xe0
    leaq    word(%rip), %rax
    outl    %eax, $0xe1
    nop
    movl    $5, %ebx
marked:
    addl    $6, %ebx
    movl    %ebx, word(%rip)
    nop
    movl    %ebx, %eax
    outl    %eax, $0xe2
    stop
    .balign 8
word:
    .quad   0
