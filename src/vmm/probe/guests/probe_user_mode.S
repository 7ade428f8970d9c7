// Goes to ring 3, which asks for help by INT 0x80 and then touches memory that is not there: prints
// the ring that called (3) on port 0xe0, the address of the fault and its error code on port 0xe1.
#include "guest.inc"
    .global _start
_start:
    set_gate 14, page_fault
    set_gate 0x80, system_call, 3
    load_idt
    movw    $TSS_SELECTOR, %ax
    ltr     %ax
    copy_to_user user, user_end
    enter_ring3 $USER_PAGES

system_call:
    movl    8(%rsp), %eax
    andl    $3, %eax
    outl    %eax, $0xe0
    iretq

page_fault:
    movq    %cr2, %rax
    outl    %eax, $0xe1
    popq    %rax
    outl    %eax, $0xe1
    stop

user:
    movl    $1000, %ecx
1:  decl    %ecx
    jnz     1b
    int     $0x80
    movq    $UNMAPPED, %rbx
    movb    (%rbx), %al
    stop
user_end:
