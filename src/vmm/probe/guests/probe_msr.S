// Reads the x2APIC task priority (MSR 0x808), writes it, and reads the TSC (MSR 0x10), which the VMM
// filters: prints each value it was given on port 0xe0.
#include "guest.inc"
    .global _start
_start:
    movl    $0x808, %ecx
    rdmsr
    outl    %eax, $0xe0
    movl    $0x808, %ecx
    movl    $0x77, %eax
    xorl    %edx, %edx
    wrmsr
    movl    $0x10, %ecx
    rdmsr
    outl    %eax, $0xe0
    stop
