// A library to preload into ftvmm that makes a real KVM look like a lesser one:
//   SHIM_API_VERSION=11          KVM_GET_API_VERSION answers 11
//   SHIM_MISSING_CAPABILITY=74   KVM_CHECK_EXTENSION says no to that one
// Everything else goes to the kernel.
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int number_of(const char* variable) {
    const char* text = getenv(variable);
    return text != NULL ? atoi(text) : -1;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    const unsigned long argument = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (request == KVM_GET_API_VERSION && number_of("SHIM_API_VERSION") >= 0) {
        return number_of("SHIM_API_VERSION");
    }
    if (request == KVM_CHECK_EXTENSION && number_of("SHIM_MISSING_CAPABILITY") == (int)argument) {
        return 0;
    }
    return (int)syscall(SYS_ioctl, fd, request, argument);
}
