// Bytes of registers, without the promotions to int that would hide a lost bit.
#pragma once

#include <cstdint>

namespace ftvmm::dev {

// The byte with bit `n` (0 to 7) alone.
constexpr std::uint8_t bit(unsigned n) {
    return static_cast<std::uint8_t>(1U << (n & 7U));
}

// `value` with the bits of `mask` cleared.
constexpr std::uint8_t without(std::uint8_t value, std::uint8_t mask) {
    return static_cast<std::uint8_t>(value & ~mask);
}

// Byte `n` of `value`, counted from the low end.
constexpr std::uint8_t byte_of(std::uint64_t value, unsigned n = 0) {
    return static_cast<std::uint8_t>(value >> (8 * n));
}

}  // namespace ftvmm::dev
