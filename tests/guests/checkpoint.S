// A machine's guest that computes for long without an exit, for checkpoints in between. The first byte
// from COM1 says what it does (1: SSE and x87, 2: interrupts, 4: nothing but changes of page tables, 8:
// which come about by page faults), the second how many times 16 turns lie between two exits.
// To be seen: the same, whatever the checkpoints. Each turn mixes into R12 what it reads: ticks of the
// APIC's timer, the paravirtual clock, XMM1 and all pages of a window, one of which the turn has mapped
// to another frame; each fourth turn maps them all by another table. It writes to a page here and there and to a few all the time; each eighth turn
// copies a page (REP MOVSB). Each round prints R12's low byte and waits for a tick. When a third byte
// has come, power off (S5).
#include "guest.inc"
    .set CODE_SELECTOR, 0x10    // The boot protocol's, not SmallGuest's.
    .set COM1, 0x3f8
    .set VECTOR, 0x40
    .set POOL, SCRATCH          // 256 pages.
    .set FRAMES, 0x500000       // 64 pages.
    .set POINTERS, 0x600000     // Of the window,
    .set DIRECTORY, 0x601000    // and its directory,
    .set TABLES, 0x602000       // and four tables to choose from. R11 has the one in use.
    .set SHARED, 0x608000       // With the VMM: the EOI flag, the clock and words of the guest's own.
    .set CLOCK, SHARED + 64
    .set TICKS, SHARED + 512
    .set TURNS, SHARED + 520
    .set REAL, SHARED + 528
    .set WINDOW, 1 << 39
    .set WINDOW_PAGES, 16
    .set FLAGS, 0x63            // Present, writable, accessed, dirty.
    .set SSE, 1
    .set INTERRUPTS, 2
    .set TABLES_ONLY, 4
    .set FAULTS, 8
    .global _start

    .macro write_msr msr, low
    movl    $\msr, %ecx
    movl    $\low, %eax
    xorl    %edx, %edx
    wrmsr
    .endm

_start:
    movb    $0xff, %al          // No interrupts of the PICs.
    outb    %al, $0x21
    movw    $COM1, %dx
    inb     %dx, %al
    movzbl  %al, %r15d
    inb     %dx, %al
    movzbl  %al, %r9d
    shll    $4, %r9d

    movq    %cr3, %rax
    andq    $~0xfff, %rax
    movq    $(POINTERS | FLAGS), 8(%rax)
    movq    $(DIRECTORY | FLAGS), POINTERS
    movq    $(TABLES | FLAGS), DIRECTORY
    movl    $TABLES, %r11d
    xorl    %ecx, %ecx
map:
    movl    %ecx, %eax
    shll    $12, %eax
    addl    $(FRAMES | FLAGS), %eax
    movq    %rax, TABLES(, %rcx, 8)
    addl    $0x10000, %eax      // Each table has frames of its own.
    movq    %rax, TABLES + 0x1000(, %rcx, 8)
    addl    $0x10000, %eax
    movq    %rax, TABLES + 0x2000(, %rcx, 8)
    addl    $0x10000, %eax
    movq    %rax, TABLES + 0x3000(, %rcx, 8)
    incl    %ecx
    cmpl    $WINDOW_PAGES, %ecx
    jb      map

    testl   $SSE, %r15d
    jz      1f
    movq    %cr4, %rax
    orl     $0x600, %eax        // OSFXSR, OSXMMEXCPT
    movq    %rax, %cr4
    fldpi
1:  set_gate 14, page_fault
    set_gate VECTOR, tick
    load_idt
    testl   $INTERRUPTS, %r15d
    jz      1f
    write_msr 0x4b564d04, (SHARED | 1)
    write_msr 0x4b564d01, (CLOCK | 1)
    write_msr 0x832, VECTOR     // LVT timer: one shot
    write_msr 0x83e, 0xb        // divide by 1
    write_msr 0x838, 100000
    sti
1:  xorl    %r12d, %r12d

round:
    movl    %r12d, %eax
    movw    $COM1, %dx
    outb    %al, %dx
    movw    $(COM1 + 5), %dx    // Its line status: whether there is a byte.
    inb     %dx, %al
    testb   $1, %al
    jnz     power_off
    testl   $INTERRUPTS, %r15d
    jz      1f
    hlt
1:  movl    %r9d, %ebp

turn:
    movabsq $6364136223846793005, %rax
    imulq   %rax, %r12
    addq    $12345, %r12
    testl   $TABLES_ONLY, %r15d
    jnz     map_one
    incq    TURNS
    addq    TICKS, %r12
    movq    %r12, %rdi          // A word of the pool.
    shrq    $20, %rdi
    andl    $0xffff8, %edi
    movq    %r12, POOL(%rdi)
    testl   $7, %ebp
    jnz     1f
    movq    %r12, %rsi          // A page of it to another.
    shrq    $8, %rsi
    andl    $0xff000, %esi
    addl    $POOL, %esi
    movq    %r12, %rdi
    shrq    $40, %rdi
    andl    $0xff000, %edi
    addl    $POOL, %edi
    movl    $0x1000, %ecx
    rep movsb
1:  testl   $SSE, %r15d
    jz      1f
    movq    %r12, %xmm0
    paddq   %xmm0, %xmm1
    movq    %xmm1, %rax
    addq    %rax, %r12
    fld1
    faddp
    fstl    REAL
    addq    REAL, %r12
1:  testl   $INTERRUPTS, %r15d
    jz      map_one
    addq    CLOCK + 16, %r12

map_one:
    testl   $3, %ebp
    jnz     1f
    movq    %r12, %r11
    shrq    $45, %r11
    andl    $3, %r11d
    shll    $12, %r11d
    addl    $TABLES, %r11d
    leaq    FLAGS(%r11), %rax
    movq    %rax, DIRECTORY
    movq    %cr3, %rax
    movq    %rax, %cr3
1:
    movq    %r12, %rcx
    shrq    $28, %rcx
    andl    $(WINDOW_PAGES - 1), %ecx
    movq    %r12, %rax
    shrq    $33, %rax
    andl    $63, %eax
    shll    $12, %eax
    leal    (FRAMES | FLAGS)(%rax), %r10d
    movq    %r10, %rax
    testl   $FAULTS, %r15d
    jz      1f
    xorl    %eax, %eax
1:  movq    %rax, (%r11, %rcx, 8)
    movabsq $WINDOW, %rbx
    shll    $12, %ecx
    leaq    (%rbx, %rcx), %rdi
    invlpg  (%rdi)
    movq    %r12, %rsi
    shrq    $40, %rsi
    andl    $0xff8, %esi
    addq    %r12, (%rdi, %rsi)
    movl    $WINDOW_PAGES, %ecx
read_window:
    addq    (%rbx, %rsi), %r12
    rolq    $7, %r12
    addq    $0x1000, %rbx
    decl    %ecx
    jnz     read_window
    decl    %ebp
    jnz     turn
    jmp     round

power_off:
    movw    $0x604, %dx
    movw    $0x3400, %ax        // SLP_EN and S5's type.
    outw    %ax, %dx
    stop

page_fault:                     // Of a page that is to be mapped as R10 says.
    pushq   %rax
    movq    %cr2, %rax
    addq    %rax, %r12
    shrq    $12, %rax
    andl    $(WINDOW_PAGES - 1), %eax
    movq    %r10, (%r11, %rax, 8)
    popq    %rax
    addq    $8, %rsp
    iretq

tick:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    incq    TICKS
    lock btrl $0, SHARED        // The paravirtual EOI, or else a real one.
    jc      1f
    write_msr 0x80b, 0
1:  write_msr 0x838, 100000
    popq    %rdx
    popq    %rcx
    popq    %rax
    iretq
