// The time of day, for the guest's real-time clock. Never for measuring: it steps.
#pragma once

#include <chrono>

namespace ftvmm::host {

// Nanoseconds since 1970 in UTC.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

class WallClock {
  public:
    WallClock() = default;
    WallClock(const WallClock&) = delete;
    WallClock& operator=(const WallClock&) = delete;
    virtual ~WallClock() = default;

    [[nodiscard]] virtual WallTime now() const = 0;
};

// The host's CLOCK_REALTIME. Safe on any thread.
class SystemWallClock final : public WallClock {
  public:
    [[nodiscard]] WallTime now() const override;
};

// Shows what it was set to, for tests and simulations. One thread.
class ManualWallClock final : public WallClock {
  public:
    [[nodiscard]] WallTime now() const override { return now_; }
    void set(WallTime now) { now_ = now; }

  private:
    WallTime now_{};
};

}  // namespace ftvmm::host
