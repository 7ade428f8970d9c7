#include "vmm/host/event_fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <cerrno>

namespace ftvmm::host {

Result<EventFd> EventFd::create() {
    Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd.valid()) return Failure(Error::from_errno(errno, "eventfd"));
    return EventFd(std::move(fd));
}

Result<EventFd> EventFd::share() const {
    Fd fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return Failure(Error::from_errno(errno, "eventfd"));
    return EventFd(std::move(fd));
}

void EventFd::signal() const {
    // It fails only where the counter is full: readable already.
    (void)::eventfd_write(fd_.get(), 1);
}

void EventFd::drain() const {
    eventfd_t count = 0;
    (void)::eventfd_read(fd_.get(), &count);
}

}  // namespace ftvmm::host
