#include "heartbeat/replay_window.h"

namespace ftvmm::heartbeat {

std::optional<Refusal> ReplayWindow::take(BeatNumber number) {
    if (number > newest_) {
        const std::uint64_t by = number - newest_;
        taken_ = by < kSize ? taken_ << by : std::bitset<kSize>();
        taken_.set(0);
        newest_ = number;
        return std::nullopt;
    }
    const std::uint64_t behind = newest_ - number;
    if (behind >= kSize) return Refusal::kOld;
    if (taken_.test(behind)) return Refusal::kRepeated;
    taken_.set(behind);
    return std::nullopt;
}

}  // namespace ftvmm::heartbeat
