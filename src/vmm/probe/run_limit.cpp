#include "vmm/probe/run_limit.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>

#include "base/check.h"

namespace ftvmm {

namespace {

constexpr std::chrono::milliseconds kRepeat{5};

timespec to_timespec(std::chrono::nanoseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    return {seconds.count(), (time - seconds).count()};
}

void install_handler() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigemptyset(&action.sa_mask);
    action.sa_flags = 0;  // Without SA_RESTART: KVM_RUN is to end.
    FTVMM_CHECK(::sigaction(SIGRTMIN, &action, nullptr) == 0, "SIGRTMIN takes a handler");
}

}  // namespace

Result<RunLimit> RunLimit::start(std::chrono::nanoseconds limit) {
    static std::once_flag installed;
    std::call_once(installed, install_handler);
    // A mask that was inherited blocked would make KVM_RUN endless.
    sigset_t signals{};
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGRTMIN);
    ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);

    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN;
    event._sigev_un._tid = ::gettid();
    timer_t timer{};
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
        return Failure(Error::from_errno(errno, "timer_create"));
    }
    RunLimit run_limit(timer, SystemClock().now() + limit);
    itimerspec when{};
    // A zero value would disarm the timer.
    when.it_value =
        to_timespec(std::max<std::chrono::nanoseconds>(limit, std::chrono::nanoseconds(1)));
    when.it_interval = to_timespec(kRepeat);
    FTVMM_CHECK(::timer_settime(timer, 0, &when, nullptr) == 0, "a timer just made can be set");
    return run_limit;
}

RunLimit::~RunLimit() {
    if (timer_) ::timer_delete(*timer_);
}

}  // namespace ftvmm
