// Which numbers were taken before, so that none is taken twice.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>

#include "heartbeat/beat.h"

namespace ftvmm::heartbeat {

// The newest number taken and the kSize - 1 below it, a bit each (as RFC 4303, 3.4.3). What is
// older can not be told from a repetition.
class ReplayWindow {
  public:
    // Twice what kMaxPaths carry within the default timeout for death: who comes later than that
    // says nothing of the peer now.
    static constexpr std::uint64_t kSize = 128;

    // Why `number` must not count; nothing if it is new, and then it is taken.
    [[nodiscard]] std::optional<Refusal> take(BeatNumber number);
    // 0 before the first.
    [[nodiscard]] BeatNumber newest() const { return newest_; }

  private:
    BeatNumber newest_;
    std::bitset<kSize> taken_;  // Bit n: newest_ - n.
};

}  // namespace ftvmm::heartbeat
