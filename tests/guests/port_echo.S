// Port I/O of every width, both ways.
// To be seen: three times over, an IN from 0xe0, 0xe2 and 0xe4 (1, 2 and 4 bytes), each followed by an
// OUT of the same value to the port above it (0xe1, 0xe3, 0xe5; DX as well as immediate forms); HLT.
#include "guest.inc"
    .global _start
_start:
    movl    $3, %ebx
1:  inb     $0xe0, %al
    outb    %al, $0xe1
    movw    $0xe2, %dx
    inw     %dx, %ax
    incw    %dx
    outw    %ax, %dx
    inl     $0xe4, %eax
    movw    $0xe5, %dx
    outl    %eax, %dx
    decl    %ebx
    jnz     1b
    stop
