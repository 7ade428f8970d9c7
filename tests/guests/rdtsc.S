// RDTSC reads the processor's counter without an exit: KVM offers no way to trap it.
// To be seen: on port 0xe0, four halves of two readings in a row (low, high, low, high), the second not
// smaller; HLT. No other exit.
#include "guest.inc"
    .global _start
_start:
    rdtsc
    movl    %eax, %esi
    movl    %edx, %edi
    rdtsc
    movl    %eax, %ebx
    movl    %edx, %ecx
    movl    %esi, %eax
    outl    %eax, $0xe0
    movl    %edi, %eax
    outl    %eax, $0xe0
    movl    %ebx, %eax
    outl    %eax, $0xe0
    movl    %ecx, %eax
    outl    %eax, $0xe0
    stop
