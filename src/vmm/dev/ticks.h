// Oscillators on the guest's time line, in integers: every tick is counted from guest time zero, so
// that no rounding ever adds up.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace ftvmm::dev {

inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;

// Half of what the type holds, 146 years: sums of a valid time and any timer's length stay in
// range.
inline constexpr std::int64_t kMaxGuestNs = INT64_MAX / 2;

constexpr std::int64_t ns_of(GuestTime at) {
    return at.time_since_epoch().count();
}
constexpr GuestTime at_ns(std::int64_t ns) {
    return GuestTime(GuestTime::duration(ns));
}

// How often an oscillator of `hz` (at most 1 GHz) has ticked by `at`; 0 before time zero.
constexpr std::uint64_t ticks_at(GuestTime at, std::uint64_t hz) {
    if (ns_of(at) <= 0) return 0;
    const auto ns = static_cast<std::uint64_t>(ns_of(at));
    constexpr auto kSecond = static_cast<std::uint64_t>(kNsPerSecond);
    return ns / kSecond * hz + ns % kSecond * hz / kSecond;
}

// The first nanosecond at which that oscillator has ticked `tick` times.
constexpr GuestTime time_of_tick(std::uint64_t tick, std::uint64_t hz) {
    constexpr auto kSecond = static_cast<std::uint64_t>(kNsPerSecond);
    const std::uint64_t ns = tick / hz * kSecond + (tick % hz * kSecond + hz - 1) / hz;
    return at_ns(static_cast<std::int64_t>(ns));
}

}  // namespace ftvmm::dev
