// How long a clone goes on in rounds, and how fast the guest may run meanwhile. Pure.
#pragma once

#include <cstdint>
#include <limits>

namespace ftvmm::pair {

// Each round sends what the guest wrote to during the one before. A guest that writes faster than
// the link carries leaves no less for the next: it is slowed down until it does. One thread.
//
//   next()  | the guest
//   kRound  | runs on at duty_percent(), while one more round goes over
//   kPause  | stands still for what is left
//   kGiveUp | goes on as if there had been no clone
class ClonePace {
  public:
    enum class Next : std::uint8_t { kRound, kPause, kGiveUp };

    // Copying so much takes a millisecond or two.
    static constexpr std::uint64_t kFewPages = 512;
    // 256 MiB, which take some tenths of a second, and as much memory: the guest stands still for
    // no more, even where no round leaves less.
    static constexpr std::uint64_t kMostPages = 65536;
    // So many rounds it runs at full speed, and from then on with less of its time each round.
    static constexpr std::uint32_t kPatientRounds = 8;
    static constexpr std::uint32_t kStepPercent = 10;
    static constexpr std::uint32_t kLeastPercent = 20;
    static constexpr std::uint32_t kMostRounds = 24;

    // A round is over, and the guest has written to so many pages meanwhile.
    [[nodiscard]] Next next(std::uint64_t pages_left);
    // How many percent of the time the guest may run.
    [[nodiscard]] std::uint32_t duty_percent() const { return duty_percent_; }
    // That are over.
    [[nodiscard]] std::uint32_t rounds() const { return rounds_; }

  private:
    std::uint32_t rounds_ = 0;
    std::uint32_t duty_percent_ = 100;
    std::uint64_t left_ = std::numeric_limits<std::uint64_t>::max();  // By the round before.
};

}  // namespace ftvmm::pair
