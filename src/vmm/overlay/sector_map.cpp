#include "vmm/overlay/sector_map.h"

#include <algorithm>
#include <bit>

namespace ftvmm::overlay {

namespace {

constexpr std::uint64_t kSectorsPerBlock = SectorMap::kBlockBytes * 8;

struct Place {
    std::size_t block;
    std::size_t byte;
    std::byte mask;
};

Place place_of(std::uint64_t sector) {
    const std::uint64_t in_block = sector % kSectorsPerBlock;
    return {static_cast<std::size_t>(sector / kSectorsPerBlock),
            static_cast<std::size_t>(in_block / 8),
            static_cast<std::byte>(1U << static_cast<unsigned>(in_block % 8))};
}

std::uint64_t count_of(const SectorMap::Block& block) {
    std::uint64_t count = 0;
    for (const std::byte byte : block)
        count += static_cast<std::uint64_t>(std::popcount(static_cast<unsigned char>(byte)));
    return count;
}

}  // namespace

bool SectorMap::bit(std::uint64_t sector) const {
    const Place place = place_of(sector);
    const auto& block = blocks_[place.block];
    return block && ((*block)[place.byte] & place.mask) != std::byte{0};
}

SectorMap::Run SectorMap::run_at(const Range& range) const {
    const std::uint64_t first = range.offset / host::kSectorBytes;
    const std::uint64_t end = range.end() / host::kSectorBytes;
    const bool held = bit(first);
    std::uint64_t sector = first + 1;
    while (sector < end) {
        const Place place = place_of(sector);
        const auto& block = blocks_[place.block];
        // A whole byte, or a whole block that is not there, at a time.
        const bool at_block = sector % kSectorsPerBlock == 0;
        if (at_block && !block && !held) {
            sector += kSectorsPerBlock;
            continue;
        }
        const std::byte full = held ? std::byte{0xff} : std::byte{0};
        const std::byte byte = block ? (*block)[place.byte] : std::byte{0};
        if (sector % 8 == 0 && byte == full) {
            sector += 8;
            continue;
        }
        if (((byte & place.mask) != std::byte{0}) != held) break;
        ++sector;
    }
    return {held, (std::min(sector, end) - first) * host::kSectorBytes};
}

bool SectorMap::holds_all(const Range& range) const {
    if (range.length == 0) return true;
    const Run run = run_at(range);
    return run.held && run.length == range.length;
}

void SectorMap::set(const Range& range, bool held) {
    for (std::uint64_t sector = range.offset / host::kSectorBytes;
         sector < range.end() / host::kSectorBytes; ++sector) {
        if (bit(sector) == held) continue;
        const Place place = place_of(sector);
        auto& block = blocks_[place.block];
        if (!block) block = std::make_unique<Block>();
        (*block)[place.byte] ^= place.mask;
        held_sectors_ += held ? 1 : -std::uint64_t{1};
    }
}

SectorMap::Block SectorMap::block_after(std::size_t index, const Range& range, bool held) const {
    Block block = blocks_[index] ? *blocks_[index] : Block{};
    for (std::uint64_t sector = range.offset / host::kSectorBytes;
         sector < range.end() / host::kSectorBytes; ++sector) {
        const Place place = place_of(sector);
        held ? block[place.byte] |= place.mask : block[place.byte] &= ~place.mask;
    }
    return block;
}

bool SectorMap::load(std::size_t index, std::span<const std::byte, kBlockBytes> bytes) {
    auto loaded = std::make_unique<Block>();
    std::ranges::copy(bytes, loaded->begin());
    const std::uint64_t sectors = disk_bytes_ / host::kSectorBytes;
    const std::uint64_t first = index * kSectorsPerBlock;
    for (std::uint64_t sector = std::max(sectors, first); sector < first + kSectorsPerBlock;
         ++sector) {
        const Place place = place_of(sector);
        if (((*loaded)[place.byte] & place.mask) != std::byte{0}) return false;
    }
    if (blocks_[index]) held_sectors_ -= count_of(*blocks_[index]);
    const std::uint64_t count = count_of(*loaded);
    held_sectors_ += count;
    blocks_[index] = count > 0 ? std::move(loaded) : nullptr;
    return true;
}

}  // namespace ftvmm::overlay
