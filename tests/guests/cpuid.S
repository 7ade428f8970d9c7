// CPUID as the VMM has set it.
// To be seen: IN from 0xe0 of a function and then of an index; on port 0xe1 EAX, EBX, ECX and EDX of
// that leaf; the same over and over.
#include "guest.inc"
    .global _start
_start:
    inl     $0xe0, %eax
    movl    %eax, %esi
    inl     $0xe0, %eax
    movl    %eax, %ecx
    movl    %esi, %eax
    cpuid
    outl    %eax, $0xe1
    movl    %ebx, %eax
    outl    %eax, $0xe1
    movl    %ecx, %eax
    outl    %eax, $0xe1
    movl    %edx, %eax
    outl    %eax, $0xe1
    jmp     _start
