#include "node/replay_watchdog.h"

#include <utility>

#include "base/check.h"

namespace ftvmm::node {

ReplayWatchdog::ReplayWatchdog(DeadlineTimer timer) : timer_(std::move(timer)) {
    timer_.cover(clock_.now() + kLookEvery);
}

void ReplayWatchdog::enter(replay::GuestMachine& machine) {
    leave();
    machine_ = &machine;
    waker_.enter_machine(machine);
}

void ReplayWatchdog::leave() {
    if (machine_ != nullptr) waker_.leave_machine();
    machine_ = nullptr;
}

ReplayWatchdog::Found ReplayWatchdog::kicked() {
    FTVMM_CHECK(machine_ != nullptr, "a machine that is kicked is watched");
    if (!waker_.take_news()) {
        kicks_ = 0;
        return Found::kNotMine;
    }
    machine_->clear_kick();
    const Instant now = clock_.now();
    timer_.passed(now);
    timer_.cover(now + kLookEvery);
    if (machine_->landmark() != kicked_at_) {
        kicked_at_ = machine_->landmark();
        kicks_ = 0;
        return Found::kRuns;
    }
    return ++kicks_ == kMostLooks ? Found::kHangs : Found::kRuns;
}

}  // namespace ftvmm::node
