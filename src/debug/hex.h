// Numbers and bytes as GDB's remote protocol writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ftvmm::debug {

// Two digits for each byte, in memory's order.
[[nodiscard]] std::string hex_of(std::span<const std::byte> bytes);
// A number, its most significant digit first, without leading zeros.
[[nodiscard]] std::string hex_of(std::uint64_t number);

// The number that `text` begins with, taken off it; nothing, and `text` as it was, where it begins
// with none or with one of more than 64 bits.
[[nodiscard]] std::optional<std::uint64_t> take_number(std::string_view& text);
// Takes `expected` off the front of `text`, if it is there.
[[nodiscard]] bool take(std::string_view& text, std::string_view expected);

}  // namespace ftvmm::debug
