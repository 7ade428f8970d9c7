// A loop in ring 3, which then calls the kernel and breaks the rules.
// To be seen: the system call of the ring 3 loop on port 0xe0: the ring it came from (3) and its count
// (100000); then CLI in ring 3, whose #GP prints its error code (0) and ring (3) on port 0xe1; HLT.
#include "guest.inc"
    .global _start
_start:
    set_gate 13, general_protection
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
    movl    %ebx, %eax
    outl    %eax, $0xe0
    iretq

general_protection:
    movl    (%rsp), %eax
    outl    %eax, $0xe1
    movl    16(%rsp), %eax
    andl    $3, %eax
    outl    %eax, $0xe1
    stop

user:
    xorl    %ebx, %ebx
1:  incl    %ebx
    cmpl    $100000, %ebx
    jne     1b
    int     $0x80
    cli
    stop
user_end:
