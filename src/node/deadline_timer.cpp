#include "node/deadline_timer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/check.h"
#include "node/waker.h"

namespace ftvmm::node {

Result<DeadlineTimer> DeadlineTimer::create() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = Waker::signal_number();
    event._sigev_un._tid = ::gettid();
    timer_t timer{};
    if (::timer_create(CLOCK_BOOTTIME, &event, &timer) != 0) {
        return Failure(Error::from_errno(errno, "timer_create", "raise the limit: ulimit -i"));
    }
    return DeadlineTimer(timer);
}

DeadlineTimer::DeadlineTimer(DeadlineTimer&& other) noexcept
    : timer_(std::exchange(other.timer_, std::nullopt)), armed_(other.armed_) {}

DeadlineTimer::~DeadlineTimer() {
    if (timer_) (void)::timer_delete(*timer_);
}

void DeadlineTimer::cover(Instant deadline) {
    if (armed_ && *armed_ <= deadline) return;
    armed_ = deadline;
    // A time of 0 would disarm it.
    const auto since_boot = std::max(deadline.time_since_epoch(), std::chrono::nanoseconds(1));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
    itimerspec when{};
    when.it_value = {seconds.count(), (since_boot - seconds).count()};
    FTVMM_CHECK(::timer_settime(*timer_, TIMER_ABSTIME, &when, nullptr) == 0,
                "a timer takes any time");
}

void DeadlineTimer::passed(Instant now) {
    if (armed_ && *armed_ <= now) armed_.reset();
}

}  // namespace ftvmm::node
