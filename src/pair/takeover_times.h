// What a takeover was made of, for people.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "base/clock.h"

namespace ftvmm::pair {

// When each of its steps was done, in their order.
struct TakeoverTimes {
    Instant lost;          // The Primary was found to be.
    Instant caught_up;     // The guest has done all records that came.
    Instant promise_over;  // This host's last promise not to go live.
    Instant won;           // The generation.
    Instant opened;        // Disks and taps, and what the lost host had begun on them has ended.
};

// "... 812 ms: ...", up to when the guest runs.
[[nodiscard]] inline std::string describe(const TakeoverTimes& times, Instant live) {
    const auto ms = [](Instant from, Instant to) {
        return std::chrono::round<std::chrono::milliseconds>(to - from).count();
    };
    return fmt::format(
        "the takeover took {} ms: records {}, the last promise {}, the election {}, disks and "
        "cards {}, start {}",
        ms(times.lost, live), ms(times.lost, times.caught_up),
        ms(times.caught_up, times.promise_over), ms(times.promise_over, times.won),
        ms(times.won, times.opened), ms(times.opened, live));
}

}  // namespace ftvmm::pair
