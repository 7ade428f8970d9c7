// A device's way into guest memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory_pieces.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::virtio {

// A piece of guest memory that a descriptor names.
struct Range {
    Gpa address;
    std::uint32_t length = 0;  // In bytes.
    bool operator==(const Range&) const = default;
};

// Reads and writes guest memory for devices and remembers which pages they wrote: KVM's dirty
// tracking sees only what the guest writes. The machine owns it, lends it to each call, and makes
// those calls only while the vCPU does not run. `memory` outlives it. One thread.
class Dma {
  public:
    explicit Dma(const GuestMemory& memory);

    // Whether `length` bytes at `address` are all RAM.
    [[nodiscard]] bool contains(Gpa address, std::uint64_t length) const;
    // The bytes at `address`, or an empty span where any of them is not RAM.
    [[nodiscard]] std::span<const std::byte> read(Gpa address, std::uint64_t length) const;
    // False, and nothing written, where any of it is not RAM.
    [[nodiscard]] bool write(Gpa address, std::span<const std::byte> source);

    // Where `ranges` lie, for a disk that reads or writes them by itself. What it writes is not
    // remembered: not where somebody asks for the pages that were written.
    [[nodiscard]] MemoryPieces pieces_of(std::span<const Range> ranges) const;

    // The pages written since the last call, each once, as page numbers in the order of their first
    // write.
    [[nodiscard]] std::vector<std::uint64_t> take_written_pages();

  private:
    const GuestMemory* memory_;
    std::vector<bool> is_written_;  // By page; so that written_pages_ stays as small as memory.
    std::vector<std::uint64_t> written_pages_;
};

// The bytes of `ranges`, one after another, at most `limit` of them. What is no longer RAM reads as
// nothing; a queue hands out only ranges that are.
std::vector<std::byte> gather(const Dma& dma, std::span<const Range> ranges, std::uint64_t limit);

// The same from their byte `offset` on, into `target`; what they do not fill is zeroed.
void gather(const Dma& dma, std::span<const Range> ranges, std::uint64_t offset,
            std::span<std::byte> target);

// Writes `source` into `ranges` from their byte `offset` on and returns how many bytes fitted.
std::uint64_t scatter(Dma& dma, std::span<const Range> ranges, std::uint64_t offset,
                      std::span<const std::byte> source);

// The bytes in all of `ranges`.
std::uint64_t total_length(std::span<const Range> ranges);

}  // namespace ftvmm::virtio
