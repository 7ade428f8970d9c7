// SSE in kernel mode, as a kernel's checksum or RAID code does: prints 0x33333333 on port 0xe0.
#include "guest.inc"
    .global _start
_start:
    movups  ones(%rip), %xmm0
    movups  twos(%rip), %xmm1
    paddd   %xmm1, %xmm0
    movd    %xmm0, %eax
    outl    %eax, $0xe0
    stop
ones:
    .fill   4, 4, 0x11111111
twos:
    .fill   4, 4, 0x22222222
