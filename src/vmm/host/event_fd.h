// A wake-up that poll(2) can wait for.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::host {

// Readable from signal() until drain(). Safe on any thread.
class EventFd {
  public:
    static Result<EventFd> create();

    // Another owner of the same wake-up.
    [[nodiscard]] Result<EventFd> share() const;

    void signal() const;
    void drain() const;
    [[nodiscard]] int get() const { return fd_.get(); }

  private:
    explicit EventFd(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace ftvmm::host
