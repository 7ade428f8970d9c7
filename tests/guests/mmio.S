// Loads and stores where there is no memory.
// To be seen: reads of 1, 2, 4 and 8 bytes at MMIO, each value stored back with the same width at MMIO +
// 0x100; a read-modify-write (read 4 at +0x200, write 4 of the value plus 1); a store of 8 bytes over
// the border at +0xffc, in pieces; HLT.
#include "guest.inc"
    .global _start
_start:
    movq    $MMIO, %rbx
    movb    (%rbx), %al
    movb    %al, 0x100(%rbx)
    movw    (%rbx), %ax
    movw    %ax, 0x100(%rbx)
    movl    (%rbx), %eax
    movl    %eax, 0x100(%rbx)
    movq    (%rbx), %rax
    movq    %rax, 0x100(%rbx)
    incl    0x200(%rbx)
    movabsq $0x1122334455667788, %rax
    movq    %rax, 0xffc(%rbx)
    stop
