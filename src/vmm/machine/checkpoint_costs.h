// Where the time of checkpoints goes.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace ftvmm::machine {

// Counted by the machine that takes checkpoints, since it was told to; for people alone.
struct CheckpointCosts {
    enum Part : std::uint8_t {
        kCpu,    // The processor's state is read.
        kLog,    // KVM tells what was written.
        kWhole,  // Cold pages are copied,
        kHot,    // hot ones compared with their shadows,
        kKeep,   // and shadows brought up to date.
        kClear,  // KVM write-protects what is to be told of again.
        kParts,
    };
    std::uint64_t checkpoints = 0;
    std::array<std::chrono::nanoseconds, kParts> checkpoint_time{};
    std::uint64_t whole_pages = 0;    // That went over.
    std::uint64_t heated_pages = 0;   // Of them.
    std::uint64_t hot_pages = 0;      // That were compared,
    std::uint64_t changed_pages = 0;  // and of them those that differed,
    std::uint64_t changed_lines = 0;  // in so many lines.
    std::uint64_t cleared_pages = 0;  // By checkpoints. Each written again is a fault.

    std::uint64_t looks = 0;  // At whether there is anything to settle.
    std::uint64_t settles = 0;
    std::chrono::nanoseconds settle_time{};  // Of the looks too.
    std::uint64_t settled_pages = 0;         // Each written again is a fault.
};

// Adds the time between two calls to one part after the other.
class PartTimer {
  public:
    explicit PartTimer(CheckpointCosts& costs) : costs_(costs), since_(clock_.now()) {}
    void end(CheckpointCosts::Part part) {
        const Instant now = clock_.now();
        costs_.checkpoint_time.at(part) += now - since_;
        since_ = now;
    }

  private:
    CheckpointCosts& costs_;
    SystemClock clock_;
    Instant since_;
};

}  // namespace ftvmm::machine
