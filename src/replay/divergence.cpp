#include "replay/divergence.h"

#include <fmt/format.h>

#include <array>

namespace ftvmm::replay {

const char* name_of(DivergenceKind kind) {
    static constexpr std::array kNames{"digest",     "memory", "needs time", "halted",
                                       "overshot",   "ended",  "went on",    "crashed",
                                       "checkpoint", "output", "exit"};
    return kNames.at(static_cast<std::size_t>(kind));
}

std::string describe(const Divergence& divergence) {
    return fmt::format(
        "the replay diverged at {} ({}): record {} of the log is: {}; but {}. From here on the "
        "guest does not do what was recorded.",
        describe(divergence.where), name_of(divergence.kind), divergence.seq.value(),
        divergence.log_says, divergence.guest_did);
}

std::string describe_first_difference(const Divergence& divergence) {
    const std::string here = describe(divergence.where);
    if (!divergence.agreed) {
        return fmt::format(
            "the digests never agreed in this life: the first difference lies at {} "
            "at the latest",
            here);
    }
    const std::string agreed = fmt::format("{} (record {})", describe(divergence.agreed->at),
                                           divergence.agreed->seq.value());
    if (divergence.agreed->at == divergence.where) {
        return fmt::format(
            "the digests agree up to {}, where the guest stands: no exit differs "
            "before that",
            agreed);
    }
    // Nothing lies between the two.
    if (divergence.agreed->at.exits + 1 == divergence.where.exits) {
        return fmt::format("the first difference is {}: the digests agree up to {}", here, agreed);
    }
    return fmt::format(
        "the first difference lies behind {}, up to which the digests agree, and at "
        "{} at the latest",
        agreed, here);
}

}  // namespace ftvmm::replay
