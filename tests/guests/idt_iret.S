// Interrupts through a real IDT, and IRETQ back to the interrupted instruction stream.
// To be seen: after 0x10 on port 0xe0, interrupts are on. Each injected vector of 0x30, 0x31 and 0xff
// prints itself on port 0xe1; 0x30's handler turns interrupts on again and waits in HLT, so that 0x31
// can nest in it. Each return leaves RBX, RSP and RFLAGS as they were: at the end the guest prints
// RBX (0x1234), the stack's displacement (0) and the low RFLAGS byte's carry (1) on port 0xe2; HLT.
#include "guest.inc"
    .global _start
_start:
    set_gate 0x30, handler_30
    set_gate 0x31, handler_31
    set_gate 0xff, handler_ff
    load_idt
    movl    $0x1234, %ebx
    movl    $0x10, %eax
    stc
    sti
    outb    %al, $0xe0
    hlt                     // 0x30, with 0x31 nested
    hlt                     // 0xff
    cli
    setc    %cl
    movl    %ebx, %eax
    outl    %eax, $0xe2
    movq    $STACK_TOP, %rax
    subq    %rsp, %rax
    outl    %eax, $0xe2
    movzbl  %cl, %eax
    outl    %eax, $0xe2
    stop
handler_30:
    pushq   %rax
    pushq   %rbx
    movl    $0x30, %eax
    outb    %al, $0xe1
    xorl    %ebx, %ebx
    sti
    hlt
    popq    %rbx
    popq    %rax
    iretq
handler_31:
    pushq   %rax
    movl    $0x31, %eax
    outb    %al, $0xe1
    clc
    popq    %rax
    iretq
handler_ff:
    pushq   %rax
    movl    $0xff, %eax
    outb    %al, $0xe1
    clc
    popq    %rax
    iretq
