// Which sectors of a disk an overlay holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "vmm/host/disk_request.h"

namespace ftvmm::overlay {

// Bytes of a disk, whole sectors.
struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;

    [[nodiscard]] std::uint64_t end() const { return offset + length; }
    [[nodiscard]] bool overlaps(const Range& other) const {
        return offset < other.end() && other.offset < end();
    }
    bool operator==(const Range&) const = default;
};

// A bit for each sector, in blocks as they are in the file; a block that holds none takes no
// memory. All that is asked of it lies inside of the disk, in whole sectors. Not thread-safe.
class SectorMap {
  public:
    static constexpr std::size_t kBlockBytes = 4096;
    // What of the disk one block tells of, in bytes.
    static constexpr std::uint64_t kBlockSpan = kBlockBytes * 8 * host::kSectorBytes;
    using Block = std::array<std::byte, kBlockBytes>;

    explicit SectorMap(std::uint64_t disk_bytes)
        : disk_bytes_(disk_bytes), blocks_(blocks_of(disk_bytes)) {}

    [[nodiscard]] static std::size_t blocks_of(std::uint64_t disk_bytes) {
        return static_cast<std::size_t>((disk_bytes + kBlockSpan - 1) / kBlockSpan);
    }
    [[nodiscard]] std::size_t blocks() const { return blocks_.size(); }
    // In bytes.
    [[nodiscard]] std::uint64_t held() const { return held_sectors_ * host::kSectorBytes; }
    // Whether the first sector of `range`, which is not empty, is held, and for how many bytes of
    // it that stays so.
    struct Run {
        bool held = false;
        std::uint64_t length = 0;
    };
    [[nodiscard]] Run run_at(const Range& range) const;
    [[nodiscard]] bool holds_all(const Range& range) const;

    void set(const Range& range, bool held);
    // The block as it is in the file once set() was told of `range`, which that block tells of.
    [[nodiscard]] Block block_after(std::size_t index, const Range& range, bool held) const;
    // False: it holds sectors behind the disk's end; nothing was changed.
    [[nodiscard]] bool load(std::size_t index, std::span<const std::byte, kBlockBytes> bytes);

  private:
    [[nodiscard]] bool bit(std::uint64_t sector) const;

    std::uint64_t disk_bytes_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::uint64_t held_sectors_ = 0;
};

}  // namespace ftvmm::overlay
