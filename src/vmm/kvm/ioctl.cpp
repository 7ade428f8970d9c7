#include "vmm/kvm/ioctl.h"

#include <sys/ioctl.h>

#include <cerrno>

namespace ftvmm::kvm {

Result<int> call(const Fd& fd, unsigned long request, unsigned long argument, const char* name) {
    for (;;) {
        const int result = ::ioctl(fd.get(), request, argument);
        if (result >= 0) return result;
        if (errno != EINTR) return Failure(Error::from_errno(errno, name));
    }
}

}  // namespace ftvmm::kvm
