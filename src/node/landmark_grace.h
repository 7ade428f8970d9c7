// How long an input may wait for a landmark of the guest's own.
#pragma once

#include <algorithm>
#include <chrono>

namespace ftvmm::node {

// A guest that computes makes no exit, and so no landmark, for as long as it likes. Then one has to
// be made, by a checkpoint, and the dearer that is here the longer it is put off: within bounds
// that a user of the guest does not feel. Pure.
class LandmarkGrace {
  public:
    using Duration = std::chrono::nanoseconds;

    // For a packet, a disk's answer, a key: whoever waits for it waits as long.
    [[nodiscard]] Duration for_input() const { return between(cost_ * 2, kLeastInput, kMostInput); }
    // For a bare tick: nobody may wait for it at all. It is told behind the checkpoint, whose time
    // is part of its wait, unless that is so long that the guest would do nothing else.
    [[nodiscard]] Duration for_tick() const {
        return between(cost_ * 20, kLeastTick,
                       std::clamp(kToldWithin - cost_, kLeastMost, kMostTick));
    }

    // A checkpoint took so long.
    void add(Duration cost) { cost_ += (cost - cost_) / kWeight; }

  private:
    static constexpr Duration kLeastInput = std::chrono::microseconds(500);
    static constexpr Duration kMostInput = std::chrono::milliseconds(3);
    static constexpr Duration kLeastTick = std::chrono::milliseconds(10);
    static constexpr Duration kMostTick = std::chrono::milliseconds(48);
    static constexpr Duration kToldWithin = std::chrono::milliseconds(56);
    static constexpr Duration kLeastMost = std::chrono::milliseconds(32);
    static constexpr int kWeight = 8;

    static Duration between(Duration value, Duration least, Duration most) {
        return std::clamp(value, least, most);
    }

    Duration cost_ = std::chrono::milliseconds(2);
};

}  // namespace ftvmm::node
