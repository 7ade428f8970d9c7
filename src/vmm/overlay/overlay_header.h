// How an overlay's file begins. docs/fencing.md
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace ftvmm::overlay {

// What an overlay lies over, and who made it.
struct OverlayFacts {
    std::uint64_t generation = 0;  // Of its maker, the owner of the VM.
    std::uint64_t disk_bytes = 0;
    // Of the file below it, the same on every host; 0 for a block device.
    std::uint64_t base_identity = 0;
    bool operator==(const OverlayFacts&) const = default;
};

// Where the parts of the file begin, in bytes; each whole blocks of the map.
struct OverlayLayout {
    std::uint64_t directory = 0;
    std::uint64_t map = 0;
    std::uint64_t data = 0;
    std::uint64_t end = 0;
};

inline constexpr std::size_t kHeaderBytes = 4096;
// A larger disk is none.
inline constexpr std::uint64_t kMaxDiskBytes = std::uint64_t{1} << 50U;

[[nodiscard]] OverlayLayout layout_of(std::uint64_t disk_bytes);
[[nodiscard]] std::array<std::byte, kHeaderBytes> encode_header(const OverlayFacts& facts);
// An error says what is wrong with it.
[[nodiscard]] Result<OverlayFacts> decode_header(std::span<const std::byte, kHeaderBytes> bytes);

}  // namespace ftvmm::overlay
