// The registers that KVM's state calls carry: those set are seen by the guest, those that the guest
// changes are seen outside.
// To be seen: on port 0xe0, LSTAR (low, high) and DR0 as they were set; then LSTAR is
// 0xffff866677778888 and DR1 0x1234; HLT.
#include "guest.inc"
    .global _start
_start:
    movl    $0xc0000082, %ecx
    rdmsr
    outl    %eax, $0xe0
    movl    %edx, %eax
    outl    %eax, $0xe0
    movq    %dr0, %rax
    outl    %eax, $0xe0

    movl    $0x77778888, %eax
    movl    $0xffff8666, %edx
    wrmsr
    movl    $0x1234, %eax
    movq    %rax, %dr1
    stop
