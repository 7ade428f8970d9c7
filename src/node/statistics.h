// What happened during a run, in numbers.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <variant>

#include "base/durations.h"
#include "replay/guest_machine.h"
#include "replay/input.h"
#include "replay/output.h"

namespace ftvmm::node {

// Indexed as the variants are. The vCPU thread's own; others read it after the run.
struct Statistics {
    std::array<std::uint64_t, std::variant_size_v<replay::Input>> inputs{};
    std::array<std::uint64_t, std::variant_size_v<replay::Output>> outputs{};
    std::array<std::uint64_t, std::variant_size_v<replay::Stop>> stops{};
    std::uint64_t checkpoints = 0;               // Landmarks made for inputs that had waited,
    std::chrono::nanoseconds checkpoint_time{};  // and how long the guest stood still for them.
    // From when a timer was due, or another thread woke the vCPU's for what it had, until the guest
    // was given it. Without each life's first second, and without the expiries of a periodic timer
    // that the guest makes up for.
    Durations tick_lateness;
    Durations packet_lateness;
    Durations disk_lateness;
    std::uint64_t waits = 0;        // Sleeps of the vCPU thread.
    std::uint64_t kicks = 0;        // Signals that other threads sent it.
    std::uint64_t lost_frames = 0;  // Sent by the guest, and not taken by the host.
    std::uint64_t power_ons = 0;
};

}  // namespace ftvmm::node
