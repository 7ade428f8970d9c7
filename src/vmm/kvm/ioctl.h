// One ioctl on a KVM file descriptor, its failure named.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::kvm {

// The ioctl's return value, or an error "KVM_CREATE_VM: Cannot allocate memory". `argument` is what
// api.rst says that `request` takes: a pointer or a number. A call interrupted by a signal is made
// again (none of the ioctls used here but KVM_RUN ends early for a signal on purpose).
Result<int> call(const Fd& fd, unsigned long request, unsigned long argument, const char* name);

template <class T>
Result<int> call(const Fd& fd, unsigned long request, T* argument, const char* name) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): ioctl(2) takes it as a number.
    return call(fd, request, reinterpret_cast<unsigned long>(argument), name);
}

}  // namespace ftvmm::kvm

// FTVMM_KVM(fd, KVM_GET_REGS, &regs): the call with its own name in the error.
#define FTVMM_KVM(fd, request, argument) ::ftvmm::kvm::call((fd), (request), (argument), #request)
