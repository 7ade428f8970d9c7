// A pair from its first exit to its end, as a seed has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "plan.h"

namespace ftvmm::sim {

// How a run came out.
enum class Outcome : std::uint8_t {
    kDrained,     // The guest ended, and the Secondary has it all.
    kTookOver,    // The Secondary went live,
    kHandedOver,  // or was told to.
};
inline constexpr std::size_t kOutcomes = 3;

struct Verdict {
    std::optional<std::string> violation;
    Outcome outcome{};
    std::size_t released = 0;
    std::size_t stalls = 0;  // Of the vCPU, because the link or the gate is full.
};

[[nodiscard]] Verdict run_pair(const Plan& plan);

}  // namespace ftvmm::sim
