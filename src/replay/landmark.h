// A point of the guest's execution that both sides of a pair reach identically.
#pragma once

#include <cstdint>

namespace ftvmm::replay {

// The n-th synchronous exit since power-on. A run that was merely interrupted is none: it can end
// anywhere, and counts nothing.
struct Landmark {
    std::uint64_t exits = 0;
    auto operator<=>(const Landmark&) const = default;
};

}  // namespace ftvmm::replay
