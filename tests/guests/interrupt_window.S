// CLI, STI and the window between them.
// To be seen: 1 on port 0xe0 with interrupts off. With a window requested there: 2 (no window while
// they are off), the window, and not before STI and the instruction after it have run (RBX is 1). With
// no window requested and nothing injected: 3 and HLT, RFLAGS.IF set.
#include "guest.inc"
    .global _start
_start:
    xorl    %ebx, %ebx
    movb    $1, %al
    outb    %al, $0xe0
    movb    $2, %al
    outb    %al, $0xe0
    sti
    incl    %ebx
    incl    %ebx
    nop
    movb    $3, %al
    outb    %al, $0xe0
    hlt
    stop
