// How often what a recorded guest has written is settled.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace ftvmm::node {

// A settle keeps the next checkpoint small, and costs the guest a fault for each page that it
// writes again. A guest that exits often enough needs no checkpoint for long: then it is not worth
// that. Pure.
class SettlePace {
  public:
    // At a landmark.
    [[nodiscard]] bool is_due(Instant now) const { return now - last_ >= wait_; }
    void settled(Instant now) {
        last_ = now;
        wait_ = std::min(wait_ * 2, kMost);
    }
    // A checkpoint was made, which holds all that was written: there may be another soon.
    void checkpointed(Instant now) {
        last_ = now;
        wait_ = kLeast;
    }

  private:
    static constexpr BootClock::duration kLeast = std::chrono::milliseconds(20);
    // What a guest writes meanwhile makes one checkpoint as long as a few others.
    static constexpr BootClock::duration kMost = std::chrono::milliseconds(640);

    Instant last_{};
    BootClock::duration wait_ = kLeast;
};

}  // namespace ftvmm::node
