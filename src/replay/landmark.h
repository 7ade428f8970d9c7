// A point of the guest's execution that both sides of a pair reach identically.
#pragma once

#include <compare>
#include <cstdint>

namespace ftvmm::replay {

// The place behind the n-th exit since power-on, or, for a guest that does not exit for long,
// behind the n-th checkpoint: the later of the two. Both counts only grow, so landmarks of one
// power-on compare by exits, then checkpoints. A run that was merely interrupted is no landmark: it
// can end anywhere, and counts nothing.
struct Landmark {
    std::uint64_t exits = 0;
    std::uint64_t checkpoints = 0;
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the 0 in <=> for a pointer.
    auto operator<=>(const Landmark&) const = default;
};

}  // namespace ftvmm::replay
