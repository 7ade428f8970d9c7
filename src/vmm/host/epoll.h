// Waits for many descriptors at once.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::host {

// epoll(7), level-triggered. A descriptor is in it with a tag that its events bring back. One
// thread.
class Epoll {
  public:
    static Result<Epoll> create();

    // EPERM where `fd` is a regular file, which is always ready and cannot be waited for.
    [[nodiscard]] Result<void> add(int fd, std::uint32_t events, std::uint64_t tag) const;
    // `fd` is in it.
    void modify(int fd, std::uint32_t events, std::uint64_t tag) const;
    void remove(int fd) const;
    // The first of `events` that happened, filled in; none after `timeout_ms` or a signal. -1 waits
    // for ever.
    [[nodiscard]] std::span<epoll_event> wait(std::span<epoll_event> events, int timeout_ms) const;
    // Readable when something in it is ready.
    [[nodiscard]] int get() const { return fd_.get(); }

  private:
    explicit Epoll(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace ftvmm::host
