// Reading the fixed structures of files from bytes that nobody has vouched for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace ftvmm::boot {

// The T at `offset` of `bytes` (little-endian, any alignment), or nothing where it does not fit.
template <class T>
[[nodiscard]] std::optional<T> load_bytes(std::span<const std::byte> bytes, std::uint64_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

// `length` bytes from `offset` of `bytes`, or nothing where they do not fit.
template <class Byte>
[[nodiscard]] std::optional<std::span<Byte>> slice(std::span<Byte> bytes, std::uint64_t offset,
                                                   std::uint64_t length) {
    if (offset > bytes.size() || length > bytes.size() - offset) return std::nullopt;
    return bytes.subspan(offset, length);
}

// The zero-terminated string at `offset` of `strings`; cut at the table's end.
[[nodiscard]] inline std::string load_string(std::span<const std::byte> strings,
                                             std::uint64_t offset) {
    if (offset >= strings.size()) return {};
    const auto rest = strings.subspan(offset);
    const auto end = std::ranges::find(rest, std::byte{0});
    return {reinterpret_cast<const char*>(rest.data()),
            static_cast<std::size_t>(end - rest.begin())};
}

}  // namespace ftvmm::boot
