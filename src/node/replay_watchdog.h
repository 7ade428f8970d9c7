// Finds a replayed guest that does not come to its next landmark.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "node/deadline_timer.h"
#include "node/waker.h"
#include "replay/guest_machine.h"

namespace ftvmm::node {

// A guest that has diverged may never exit again. No recorded guest goes for so long without a
// landmark, and no replay is so much slower. The thread that runs the guest owns it.
class ReplayWatchdog {
  public:
    explicit ReplayWatchdog(DeadlineTimer timer);
    ReplayWatchdog(const ReplayWatchdog&) = delete;
    ReplayWatchdog& operator=(const ReplayWatchdog&) = delete;
    ~ReplayWatchdog() { leave(); }

    // `machine` is watched until leave(), or until another is.
    void enter(replay::GuestMachine& machine);
    void leave();

    enum class Found : std::uint8_t {
        kNotMine,  // Somebody else ended the run: a debugger.
        kRuns,     // Go on.
        kHangs,    // For kHangsAfter without a landmark.
    };
    static constexpr std::chrono::seconds kHangsAfter{30};
    // A run of the machine was kicked. Afterwards it can run again.
    [[nodiscard]] Found kicked();

  private:
    static constexpr int kMostLooks = 3;
    static constexpr std::chrono::seconds kLookEvery = kHangsAfter / kMostLooks;

    SystemClock clock_;
    Waker waker_;  // Before the timer, whose signals come to it.
    DeadlineTimer timer_;
    replay::GuestMachine* machine_ = nullptr;
    replay::Landmark kicked_at_;
    int kicks_ = 0;
};

}  // namespace ftvmm::node
