#include "ftlink/refusal_log.h"

#include <fmt/format.h>

#include <algorithm>

namespace ftvmm::ftlink {

void RefusalLog::refused(const std::string& address, const std::string& why, Instant now) {
    ++refusals_;
    constexpr auto kLineEvery = BootClock::duration(std::chrono::seconds(1)) / kPerSecond;
    const auto earned = static_cast<std::uint64_t>((now - counted_at_) / kLineEvery);
    if (earned > 0) {
        lines_ = std::min(kBurst, lines_ + std::min(kBurst, earned));
        counted_at_ = now;
    }
    if (lines_ == 0) {
        ++held_back_;
        return;
    }
    --lines_;
    const std::string more =
        held_back_ == 0 ? "" : fmt::format(" ({} refusals before it are not shown)", held_back_);
    held_back_ = 0;
    log_(fmt::format("refused {}: {}{}", address, why, more));
}

}  // namespace ftvmm::ftlink
