#include "replay/divergence.h"

#include <fmt/format.h>

#include <array>

namespace ftvmm::replay {

const char* name_of(DivergenceKind kind) {
    static constexpr std::array kNames{"digest", "memory",  "needs time", "halted",     "overshot",
                                       "ended",  "went on", "crashed",    "checkpoint", "output"};
    return kNames.at(static_cast<std::size_t>(kind));
}

std::string describe(const Divergence& divergence) {
    return fmt::format(
        "the replay diverged at {} ({}): record {} of the log is: {}; but {}. From here on the "
        "guest does not do what was recorded.",
        describe(divergence.where), name_of(divergence.kind), divergence.seq.value(),
        divergence.log_says, divergence.guest_did);
}

}  // namespace ftvmm::replay
