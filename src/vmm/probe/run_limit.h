// Ends a KVM_RUN that lasts too long.
#pragma once

#include <chrono>
#include <ctime>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm {

// While it lives, and once its time has passed, the thread that made it gets a signal every few
// milliseconds, so that KVM_RUN returns Interrupted. The signal is sent again and again because one
// that comes just before KVM_RUN ends nothing. It uses SIGRTMIN with a handler that does nothing.
class RunLimit {
  public:
    static Result<RunLimit> start(std::chrono::nanoseconds limit);

    RunLimit(RunLimit&& other) noexcept
        : timer_(std::exchange(other.timer_, std::nullopt)), deadline_(other.deadline_) {}
    RunLimit& operator=(RunLimit&&) = delete;
    RunLimit(const RunLimit&) = delete;
    RunLimit& operator=(const RunLimit&) = delete;
    ~RunLimit();

    [[nodiscard]] bool passed() const { return SystemClock().now() >= deadline_; }

  private:
    RunLimit(timer_t timer, Instant deadline) : timer_(timer), deadline_(deadline) {}
    std::optional<timer_t> timer_;  // Empty when moved from.
    Instant deadline_;
};

}  // namespace ftvmm
