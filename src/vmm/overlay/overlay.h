// One overlay: a file of sectors that stand for those of the disk below it. docs/fencing.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/host/block_file.h"
#include "vmm/overlay/overlay_header.h"
#include "vmm/overlay/sector_map.h"

namespace ftvmm::overlay {

// Its calls are those of a BlockFile, by offsets of the disk, with the same rules; only sectors
// that it holds are read. What a call has told of is seen by whoever loads the file elsewhere from
// then on. At any loss of power a sector is held with what was written to it, or not held.
class Overlay {
  public:
    // Makes `file`, of layout_of().end bytes that read as zeroes, an overlay that holds nothing;
    // it outlasts a loss of power.
    [[nodiscard]] static Result<void> format(host::BlockFile& file, const OverlayFacts& facts);
    // An error says what is wrong with it, or which of `facts` is another.
    static Result<std::unique_ptr<Overlay>> load(std::shared_ptr<host::BlockFile> file,
                                                 const OverlayFacts& facts);
    Overlay(std::shared_ptr<host::BlockFile> file, std::uint64_t disk_bytes);

    // As of SectorMap.
    [[nodiscard]] SectorMap::Run run_at(const Range& range) const;
    [[nodiscard]] std::uint64_t held() const;

    [[nodiscard]] int read(std::span<std::byte> bytes, std::uint64_t offset);
    // Holds them from then on.
    [[nodiscard]] int write(std::span<const std::byte> bytes, std::uint64_t offset);
    [[nodiscard]] int zero(std::uint64_t offset, std::uint64_t length);
    [[nodiscard]] int sync() { return file_->sync(); }
    // Holds them no more, and so it stays at a loss of power. What was held is still in the file:
    // who has loaded it before may yet read that. After an error it holds them still.
    [[nodiscard]] int forget(const Range& range);
    // Where a call failed nobody knows what the file says: it holds what it held before, and what
    // is newer has to be written to it until one has succeeded.
    [[nodiscard]] bool is_doubtful(const Range& range) const;
    // What the file says now: its writer was another one until now.
    [[nodiscard]] Result<void> reload();

  private:
    [[nodiscard]] Result<SectorMap> load_map() const;
    [[nodiscard]] bool holds_all(const Range& range) const;
    // Behind a write of `range`'s sectors.
    [[nodiscard]] int hold(const Range& range);
    [[nodiscard]] int store(const Range& range, bool held);
    [[nodiscard]] int store_part(std::size_t index, const Range& part, bool held);
    [[nodiscard]] int write_block(std::size_t index, const SectorMap::Block& block);
    [[nodiscard]] int write_directory(std::size_t index);

    const std::shared_ptr<host::BlockFile> file_;
    const std::uint64_t disk_bytes_;
    const OverlayLayout layout_;
    std::mutex storing_;                 // One at a time changes the map's file.
    std::vector<std::byte> directory_;   // As in the file; whoever stores.
    mutable std::shared_mutex looking_;  // Guards what follows.
    SectorMap map_;
    std::set<std::size_t> doubtful_;  // Blocks of the map that may be another in the file.
};

}  // namespace ftvmm::overlay
