#include "vmm/host/epoll.h"

#include <cerrno>

#include "base/check.h"

namespace ftvmm::host {

Result<Epoll> Epoll::create() {
    Fd fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!fd.valid()) return Failure(Error::from_errno(errno, "epoll_create1"));
    return Epoll(std::move(fd));
}

Result<void> Epoll::add(int fd, std::uint32_t events, std::uint64_t tag) const {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return Failure(Error::from_errno(errno, "epoll_ctl"));
    }
    return {};
}

void Epoll::modify(int fd, std::uint32_t events, std::uint64_t tag) const {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    FTVMM_CHECK(::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) == 0, "it was added before");
}

void Epoll::remove(int fd) const {
    FTVMM_CHECK(::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0, "it was added before");
}

std::span<epoll_event> Epoll::wait(std::span<epoll_event> events, int timeout_ms) const {
    const int count =
        ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    FTVMM_CHECK(count >= 0 || errno == EINTR, "epoll waits");
    return events.first(count > 0 ? static_cast<std::size_t>(count) : 0);
}

}  // namespace ftvmm::host
