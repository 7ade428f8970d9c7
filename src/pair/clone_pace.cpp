#include "pair/clone_pace.h"

#include <algorithm>
#include <utility>

namespace ftvmm::pair {

ClonePace::Next ClonePace::next(std::uint64_t pages_left) {
    ++rounds_;
    const bool has_gained = pages_left < std::exchange(left_, pages_left);
    if (pages_left <= kFewPages) return Next::kPause;
    // It writes to the same pages over and over, however slow it is.
    const bool is_in_vain = duty_percent_ == kLeastPercent && !has_gained;
    const bool is_last = rounds_ >= kMostRounds;
    if ((is_in_vain || is_last) && pages_left <= kMostPages) return Next::kPause;
    if (is_last) return Next::kGiveUp;
    if (rounds_ >= kPatientRounds) {
        duty_percent_ = std::max(duty_percent_ - kStepPercent, kLeastPercent);
    }
    return Next::kRound;
}

}  // namespace ftvmm::pair
