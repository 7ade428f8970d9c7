// Interrupts off until told otherwise: does the window open between STI and the OUT after it, and not
// a moment sooner, and does an interrupt injected there reach its handler and return?
// Prints 1 (off), 2 (still off), then, once the window opened and vector 0x40 came, 3 from the
// handler and 4 from where it returned to.
#include "guest.inc"
    .global _start
_start:
    set_gate 0x40, handler
    load_idt
    movb    $1, %al
    outb    %al, $0xe0
    movb    $2, %al
    outb    %al, $0xe0
    movb    $4, %al
    sti
    nop
    nop
    cli
    outb    %al, $0xe0
    stop
handler:
    pushq   %rax
    movb    $3, %al
    outb    %al, $0xe0
    popq    %rax
    iretq
