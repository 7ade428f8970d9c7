// The vector registers that KVM's XSAVE calls carry, as vcpu_state has it for the others.
// To be seen: on port 0xe0, XMM0's low half as it was set; then XMM1's is 0x99aabbcc; HLT.
#include "guest.inc"
    .global _start
_start:
    movd    %xmm0, %eax
    outl    %eax, $0xe0
    movl    $0x99aabbcc, %eax
    movd    %eax, %xmm1
    stop
