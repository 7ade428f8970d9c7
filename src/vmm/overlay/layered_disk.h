// A disk below its overlays: what the guest reads, and where its writes go. docs/fencing.md
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/host/block_file.h"
#include "vmm/overlay/overlay.h"
#include "vmm/overlay/range_guard.h"

namespace ftvmm::overlay {

// A sector is read from the highest overlay that holds it, or from the base. Writes go into the
// highest overlay: everything below may yet be written by a host that was lost. Once that is over,
// and settle() was told so, what the overlays hold is moved into the base, lowest first, while the
// guest runs; a write then goes into the base where no overlay holds the sector. The BlockFile's
// calls are for any thread; settle() and move_some() for one.
class LayeredDisk final : public host::BlockFile {
  public:
    // The lowest overlay first; at least one.
    LayeredDisk(std::shared_ptr<host::BlockFile> base, std::uint64_t disk_bytes,
                std::vector<std::unique_ptr<Overlay>> overlays);

    [[nodiscard]] int read(std::span<std::byte> bytes, std::uint64_t offset) override;
    [[nodiscard]] int write(std::span<const std::byte> bytes, std::uint64_t offset) override;
    [[nodiscard]] int zero(std::uint64_t offset, std::uint64_t length) override;
    // Does nothing: the disk is not in layers for long.
    [[nodiscard]] int discard(std::uint64_t offset, std::uint64_t length) override;
    [[nodiscard]] int sync() override;

    // Nobody else writes to any of the files any more. Once.
    [[nodiscard]] Result<void> settle();
    // Moves some of it, and waits for the storage; 0 or its errno, and it may be tried again.
    // Behind settle().
    [[nodiscard]] int move_some();
    // What is left to be moved, in bytes.
    [[nodiscard]] std::uint64_t left() const;
    // Of one overlay, by its place.
    [[nodiscard]] std::uint64_t left_in(std::size_t overlay) const;
    // Nothing will be written to that overlay any more, and nothing is read from it.
    [[nodiscard]] bool is_done_with(std::size_t overlay) const;
    [[nodiscard]] bool is_settled() const { return settled_; }
    // Nothing is left: the base alone is the disk.
    [[nodiscard]] bool is_whole() const { return settled_ && left() == 0; }

  private:
    // Where a range's first sector is, and for how many bytes the same is so. -1: in the base.
    struct Place {
        std::ptrdiff_t overlay = -1;
        std::uint64_t length = 0;
    };
    [[nodiscard]] Place place_of(const Range& range) const;
    // The bytes of `range` that one write may put into one file, and that: as of place_of().
    [[nodiscard]] Place target_of(const Range& range) const;
    // One that its writer deleted, late, held nothing by then.
    [[nodiscard]] static int sync_overlay(Overlay& overlay);
    [[nodiscard]] static Range piece_of(const Overlay& overlay, const Range& range);
    [[nodiscard]] int move_range(Overlay& overlay, const Range& range);
    template <class Put>
    int put(const Range& range, Put put_piece);

    std::shared_ptr<host::BlockFile> base_;
    std::uint64_t disk_bytes_;
    std::vector<std::unique_ptr<Overlay>> overlays_;
    std::atomic<bool> settled_{false};
    RangeGuard guard_;
    std::uint64_t cursor_ = 0;  // What is moved next; the mover's.
};

}  // namespace ftvmm::overlay
