// When a host that says nothing is taken for dead.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace ftvmm::pair {

// Of one connection whose other end speaks at least every 50 ms. Pure; one thread.
class Silence {
  public:
    // Two looks further apart than this: it was this host that stood still. What came meanwhile is
    // yet to be read, so the silence begins anew.
    static constexpr std::chrono::milliseconds kOwnGap{200};

    // Zero: nobody is ever dead.
    explicit Silence(BootClock::duration dead_after) : dead_after_(dead_after) {}

    // It is `now`, and so many bytes came so far: part of a long message is no silence. True: it is
    // dead. Call it every few ms.
    [[nodiscard]] bool look(std::uint64_t bytes, Instant now) {
        const bool begins = !looks_ || bytes != bytes_ || now - looked_at_ > kOwnGap;
        if (begins) since_ = now;
        looks_ = true;
        bytes_ = bytes;
        looked_at_ = now;
        return dead_after_ > BootClock::duration::zero() && now - since_ >= dead_after_;
    }

    // Nothing can come: it begins anew with the next look.
    void restart() { looks_ = false; }

  private:
    BootClock::duration dead_after_;
    bool looks_ = false;
    std::uint64_t bytes_ = 0;
    Instant looked_at_{};
    Instant since_{};
};

}  // namespace ftvmm::pair
