// Code that changes itself: the processor runs what was written last.
// To be seen: on port 0xe0, the sum of 1 to 200, each added by an instruction whose operand had just
// been written (20100); then, after the VMM has overwritten the same operand with 7 while the guest was
// stopped at that OUT, the operand as the next run of the instruction adds it (7); HLT. The operand's
// address is printed on port 0xe1 first.
#include "guest.inc"
    .global _start
_start:
    leaq    patched + 1(%rip), %rdi     // the 32-bit operand of addl $imm32, %eax
    movl    %edi, %eax
    outl    %eax, $0xe1
    xorl    %eax, %eax
    movl    $1, %ecx
1:  movl    %ecx, (%rdi)
    call    patched
    incl    %ecx
    cmpl    $200, %ecx
    jbe     1b
    outl    %eax, $0xe0
    xorl    %eax, %eax
    call    patched
    outl    %eax, $0xe0
    stop
patched:
    .byte   0x05                        // addl $imm32, %eax
    .long   0
    ret
