// A link's figures over the last seconds, for people.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace ftvmm::pair {

// Moving averages: what was counts less and less. Pure; one thread.
class RecentLink {
  public:
    static constexpr std::chrono::seconds kSpan{5};

    // It is `now`, later than at the last look, and so many bytes of log went over in all.
    void look(Instant now, BootClock::duration lag, std::uint64_t log_bytes) {
        if (!began_at_) {
            began_at_ = looked_at_ = now;
            lag_ns_ = static_cast<double>(lag.count());
            log_bytes_ = log_bytes;
            return;
        }
        const auto step = seconds(now - looked_at_);
        if (step <= 0) return;
        // All looks count alike until there were kSpan of them.
        const double weight =
            std::min(step / std::min(seconds(now - *began_at_), seconds(kSpan)), 1.0);
        const double bits = 8.0 * static_cast<double>(log_bytes - log_bytes_);
        lag_ns_ += weight * (static_cast<double>(lag.count()) - lag_ns_);
        log_bits_per_s_ += weight * (bits / step - log_bits_per_s_);
        looked_at_ = now;
        log_bytes_ = log_bytes;
    }

    [[nodiscard]] BootClock::duration lag() const {
        return BootClock::duration(static_cast<BootClock::rep>(lag_ns_));
    }
    [[nodiscard]] double log_bits_per_s() const { return log_bits_per_s_; }

  private:
    static double seconds(BootClock::duration time) {
        return std::chrono::duration<double>(time).count();
    }

    std::optional<Instant> began_at_;
    Instant looked_at_{};
    double lag_ns_ = 0;
    double log_bits_per_s_ = 0;
    std::uint64_t log_bytes_ = 0;
};

}  // namespace ftvmm::pair
