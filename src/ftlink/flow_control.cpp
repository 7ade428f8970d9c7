#include "ftlink/flow_control.h"

#include <algorithm>

namespace ftvmm::ftlink {

void Throttle::observe(BootClock::duration lag, Instant now) {
    const bool is_behind = lag > kTooMuchLag;
    const bool is_well = lag < kGoodLag && is_throttled();
    if ((!is_behind && !is_well) || now - stepped_at_ < kStepEvery) return;
    stepped_at_ = now;
    duty_percent_ = is_behind ? std::max(duty_percent_ - kStepPercent, kLeastPercent)
                              : std::min(duty_percent_ + kStepPercent, 100U);
}

}  // namespace ftvmm::ftlink
