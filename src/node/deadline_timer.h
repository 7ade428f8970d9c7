// Wakes the vCPU thread when the guest's next timer is due.
#pragma once

#include <ctime>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::node {

// A POSIX timer that sends the calling thread Waker's signal. Owned and used by that one thread.
// A guest moves its deadline far more often than one passes, mostly to later: so an armed timer is
// left as it is unless the deadline is earlier, and the early wake-up that may follow costs less
// than a system call for each change.
class DeadlineTimer {
  public:
    static Result<DeadlineTimer> create();
    DeadlineTimer(DeadlineTimer&& other) noexcept;
    DeadlineTimer& operator=(DeadlineTimer&&) = delete;
    DeadlineTimer(const DeadlineTimer&) = delete;
    DeadlineTimer& operator=(const DeadlineTimer&) = delete;
    ~DeadlineTimer();

    // From here on a wake-up comes at `deadline`, and maybe one before.
    void cover(Instant deadline);
    // It is `now`: what was armed for now or earlier has fired, or is about to.
    void passed(Instant now);

  private:
    explicit DeadlineTimer(timer_t timer) : timer_(timer) {}

    std::optional<timer_t> timer_;  // Empty when moved from.
    std::optional<Instant> armed_;
};

}  // namespace ftvmm::node
