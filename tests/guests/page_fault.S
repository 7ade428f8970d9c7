// Page faults: the guest's own handler maps the page and the access is made again.
// To be seen: on port 0xe0 the error code and CR2 of a write to UNMAPPED (2, UNMAPPED), then, the page
// mapped to SCRATCH, the value written through the new mapping as read at SCRATCH (0x5a5a); the same
// two of a write to a read-only page (3, UNMAPPED), made writable by the handler; then 0xa5a5; HLT.
#include "guest.inc"
    .global _start
_start:
    set_gate 14, page_fault
    load_idt
    movq    $UNMAPPED, %rbx
    movw    $0x5a5a, (%rbx)
    movzwl  SCRATCH, %eax
    outl    %eax, $0xe0
    movq    $(SCRATCH | 0x81), PAGE_DIRECTORY + 8 * 511   // present, large, read-only
    invlpg  (%rbx)
    movw    $0xa5a5, (%rbx)
    movzwl  SCRATCH, %eax
    outl    %eax, $0xe0
    stop
page_fault:
    pushq   %rax
    movl    8(%rsp), %eax
    outl    %eax, $0xe0
    movq    %cr2, %rax
    outl    %eax, $0xe0
    movq    $(SCRATCH | 0x83), PAGE_DIRECTORY + 8 * 511   // present, large, writable
    invlpg  UNMAPPED
    popq    %rax
    addq    $8, %rsp
    iretq
