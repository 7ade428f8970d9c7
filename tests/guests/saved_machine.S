// A kernel for the whole machine: it keeps something in every kind of register and leaves in every way
// that has something to complete.
// To be seen: ROUNDS times bytes on COM1, a read of the PM timer, string I/O over page borders, a read
// and a write of PCI's configuration by MMIO, MSRs, and HLT until the APIC's timer interrupts. Each
// round mixes what all registers hold into R12, whose low byte it prints. At the end, power off (S5).
#include "guest.inc"
    .set CODE_SELECTOR, 0x10    // The boot protocol's, not SmallGuest's.
    .set ROUNDS, 3
    .set BUFFER, SCRATCH + 0x1000 - 20
    .set COM1, 0x3f8
    .set LSTAR, 0xc0000082
    .set VECTOR, 0x40
    .global _start

    .macro write_msr msr, low
    movl    $\msr, %ecx
    movl    $\low, %eax
    xorl    %edx, %edx
    wrmsr
    .endm

_start:
    movq    %cr4, %rax
    orl     $0x600, %eax        // OSFXSR, OSXMMEXCPT
    movq    %rax, %cr4
    movabsq $0x1122334455667788, %rax
    movq    %rax, %xmm0
    movq    %rax, %xmm15
    fldpi
    movl    $LSTAR, %ecx
    movl    $0x33334444, %eax
    movl    $0xffff8222, %edx
    wrmsr
    movl    $0xabcd, %eax
    movq    %rax, %dr0
    movl    $5, %eax
    movq    %rax, %cr8
    set_gate VECTOR, tick
    load_idt
    write_msr 0x832, VECTOR     // LVT timer: one shot
    write_msr 0x83e, 0xb        // divide by 1
    xorl    %r12d, %r12d
    xorl    %r14d, %r14d
    movl    $ROUNDS, %r13d

round:
    movl    %r12d, %eax
    movw    $COM1, %dx
    outb    %al, %dx
    movw    $0x608, %dx         // The PM timer.
    inl     %dx, %eax
    addq    %rax, %r12

    movq    $BUFFER, %rdi
    movl    $40, %ecx
    movw    $(COM1 + 5), %dx
    rep insb
    movq    %r12, BUFFER + 16   // Over the page's border.
    movq    $BUFFER, %rsi
    movl    $40, %ecx
    movw    $COM1, %dx
    rep outsb

    movl    $0xe0008000, %ebx   // Slot 1's configuration, in ECAM.
    movl    (%rbx), %eax
    addq    %rax, %r12
    movl    %r12d, 0x0c(%rbx)   // Its cache line size and latency.
    movq    0x0a(%rbx), %rax    // Eight bytes, not aligned.
    addq    %rax, %r12

    movl    $0x838, %ecx        // The timer's count.
    movl    $100000, %eax
    xorl    %edx, %edx
    wrmsr
    sti
    hlt
    cli
    addq    %r14, %r12

    movq    %xmm0, %rax
    addq    %rax, %r12
    movq    %xmm15, %rax
    addq    %rax, %r12
    paddq   %xmm15, %xmm0
    fldl2e
    faddp
    fstl    SCRATCH + 0x2000
    addq    SCRATCH + 0x2000, %r12
    movl    $LSTAR, %ecx
    rdmsr
    addq    %rax, %r12
    movq    %dr0, %rax
    addq    %rax, %r12
    movq    %cr8, %rax
    leaq    (%rax, %r12, 8), %r12
    decl    %r13d
    jnz     round

    movw    $0x604, %dx
    movw    $0x3400, %ax        // SLP_EN and S5's type.
    outw    %ax, %dx
    stop

tick:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    incq    %r14
    write_msr 0x80b, 0          // End of interrupt.
    popq    %rdx
    popq    %rcx
    popq    %rax
    iretq
