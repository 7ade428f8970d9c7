#include "vmm/overlay/overlay_header.h"

#include <xxhash.h>

#include <algorithm>
#include <string_view>

#include "vmm/host/disk_request.h"
#include "vmm/overlay/sector_map.h"

namespace ftvmm::overlay {

namespace {

constexpr std::string_view kMagic = "ftvmm ov";
constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kDataAlignment = std::uint64_t{1} << 20U;
constexpr std::size_t kWord = 8;
// Magic, version, generation, disk_bytes, base_identity; then the checksum of them.
constexpr std::size_t kChecksumAt = 5 * kWord;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

void put(std::span<std::byte> bytes, std::size_t at, std::uint64_t value) {
    for (std::size_t i = 0; i < kWord; ++i)
        bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint64_t get(std::span<const std::byte> bytes, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < kWord; ++i)
        value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
    return value;
}

}  // namespace

OverlayLayout layout_of(std::uint64_t disk_bytes) {
    const std::uint64_t blocks = SectorMap::blocks_of(disk_bytes);
    OverlayLayout layout;
    layout.directory = kHeaderBytes;
    layout.map = layout.directory + round_up((blocks + 7) / 8, SectorMap::kBlockBytes);
    layout.data = round_up(layout.map + blocks * SectorMap::kBlockBytes, kDataAlignment);
    layout.end = layout.data + disk_bytes;
    return layout;
}

std::array<std::byte, kHeaderBytes> encode_header(const OverlayFacts& facts) {
    std::array<std::byte, kHeaderBytes> bytes{};
    std::ranges::transform(kMagic, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
    put(bytes, kWord, kVersion);
    put(bytes, 2 * kWord, facts.generation);
    put(bytes, 3 * kWord, facts.disk_bytes);
    put(bytes, 4 * kWord, facts.base_identity);
    put(bytes, kChecksumAt, XXH3_64bits(bytes.data(), kChecksumAt));
    return bytes;
}

Result<OverlayFacts> decode_header(std::span<const std::byte, kHeaderBytes> bytes) {
    const bool has_magic = std::ranges::equal(kMagic, bytes.first(kMagic.size()), {},
                                              [](char c) { return static_cast<std::byte>(c); });
    if (!has_magic) return fail("it is no overlay of ftvmm");
    if (get(bytes, kChecksumAt) != XXH3_64bits(bytes.data(), kChecksumAt)) {
        return fail("its header is damaged");
    }
    if (get(bytes, kWord) != kVersion) return fail("another version of ftvmm made it");
    const OverlayFacts facts{get(bytes, 2 * kWord), get(bytes, 3 * kWord), get(bytes, 4 * kWord)};
    if (facts.disk_bytes == 0 || facts.disk_bytes > kMaxDiskBytes ||
        facts.disk_bytes % host::kSectorBytes != 0) {
        return fail("its header tells of a disk that can not be");
    }
    return facts;
}

}  // namespace ftvmm::overlay
