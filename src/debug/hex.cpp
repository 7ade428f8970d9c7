#include "debug/hex.h"

#include <fmt/format.h>

#include <charconv>

namespace ftvmm::debug {

std::string hex_of(std::span<const std::byte> bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (const std::byte byte : bytes) {
        const auto value = std::to_integer<unsigned>(byte);
        text += kDigits[value >> 4U];
        text += kDigits[value & 0xfU];
    }
    return text;
}

std::string hex_of(std::uint64_t number) {
    return fmt::format("{:x}", number);
}

std::optional<std::uint64_t> take_number(std::string_view& text) {
    constexpr int kHex = 16;
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number, kHex);
    if (read.ec != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return number;
}

bool take(std::string_view& text, std::string_view expected) {
    if (!text.starts_with(expected)) return false;
    text.remove_prefix(expected.size());
    return true;
}

}  // namespace ftvmm::debug
