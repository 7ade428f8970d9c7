// Saves and restores the FPU state in kernel mode, as every context switch of a kernel does: prints
// 0x44444444 on port 0xe0, the value that was in XMM0 when it was saved.
#include "guest.inc"
    .global _start
_start:
    movups  fours(%rip), %xmm0
    movq    $SCRATCH, %rdi
    fxsave64 (%rdi)
    pxor    %xmm0, %xmm0
    fxrstor64 (%rdi)
    movd    %xmm0, %eax
    outl    %eax, $0xe0
    stop
fours:
    .fill   4, 4, 0x44444444
