// Time comes in through this door, so that everything behind it can be run by a simulation.
#pragma once

#include <chrono>

namespace ftvmm {

// CLOCK_BOOTTIME's time line: it never steps and goes on counting while the host is suspended,
// which is what a node must notice.
struct BootClock {
    using rep = std::chrono::nanoseconds::rep;
    using period = std::nano;
    using duration = std::chrono::nanoseconds;
    using time_point = std::chrono::time_point<BootClock>;
    static constexpr bool is_steady = true;
};

using Instant = BootClock::time_point;

// The guest's own time line: nanoseconds since its power-on. It moves only by inputs, so that both
// sides of a pair see the same; how it follows the host's clock is the machine's affair.
struct GuestClock {
    using rep = std::chrono::nanoseconds::rep;
    using period = std::nano;
    using duration = std::chrono::nanoseconds;
    using time_point = std::chrono::time_point<GuestClock>;
    static constexpr bool is_steady = true;
};

using GuestTime = GuestClock::time_point;

class Clock {
  public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    [[nodiscard]] virtual Instant now() const = 0;
};

// The host's own clock. Safe on any thread.
class SystemClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override;
};

// A clock that stands still until told otherwise, for tests and simulations. One thread.
class ManualClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return now_; }
    void advance(BootClock::duration step) { now_ += step; }

  private:
    Instant now_{};
};

}  // namespace ftvmm
