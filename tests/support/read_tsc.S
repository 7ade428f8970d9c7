// A program for guests: prints the processor's time stamp counter, which no log holds, in 16
// hexadecimal digits and a newline; with any argument, its 8 bytes as they are. It needs no library.
#include <asm/unistd.h>

    .text
    .global _start
_start:
    rdtsc
    shlq    $32, %rdx
    orq     %rax, %rdx
    movq    %rdx, -8(%rsp)
    leaq    -8(%rsp), %rsi
    movl    $8, %r8d                // What is written.
    cmpl    $1, (%rsp)              // The number of arguments, the program's name among them.
    jne     write
    leaq    -32(%rsp), %rdi
    movq    %rdi, %rsi
    movl    $16, %ecx
digit:
    rolq    $4, %rdx
    movl    %edx, %eax
    andb    $15, %al
    addb    $'0', %al
    cmpb    $'9', %al
    jbe     store
    addb    $('a' - '0' - 10), %al
store:
    stosb
    loop    digit
    movb    $'\n', %al
    stosb
    movl    $17, %r8d
write:
    movl    $__NR_write, %eax
    movl    $1, %edi
    movl    %r8d, %edx
    syscall
    movl    $__NR_exit, %eax
    xorl    %edi, %edi
    syscall
    .section .note.GNU-stack,"",@progbits
