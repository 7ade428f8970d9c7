// What differs between the memories of two runs of one guest, and whether it may. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/memory/gpa.h"

namespace ftvmm::machine {

// What the time stamp counter of a run begins with: a program that reads it leaves the value in
// memory, and its upper 16 bits tell that it is one. No address of Linux begins with either.
inline constexpr std::uint16_t kRecordedTscMark = 0x4d52;
inline constexpr std::uint16_t kReplayedTscMark = 0x2b1c;

// By 64-bit words. A word is of one kind alone.
struct MemoryDifferences {
    struct Place {
        std::uint64_t offset = 0;  // Into GuestMemory::bytes().
        std::uint64_t recorded = 0;
        std::uint64_t replayed = 0;
        bool operator==(const Place&) const = default;
    };
    // Enough to look for a cause.
    static constexpr std::size_t kMostPlaces = 16;

    std::uint64_t pages = 0;  // That differ in any way.
    // Of a page table's entry, the bits "accessed" and "dirty" alone: the processor sets them when
    // it likes.
    std::uint64_t accessed_or_dirty = 0;
    // Of the time stamp counter: a word or half of one with the marks, or what is left of two such
    // values by a subtraction, or the lower half of one, in a page with marks.
    std::uint64_t tsc = 0;
    // All else: the runs have diverged.
    std::uint64_t other = 0;
    std::vector<Place> first;  // Of the others.

    bool operator==(const MemoryDifferences&) const = default;
};

// Collects them, page by page.
class MemoryComparison {
  public:
    // The pages at `offset` in either memory, of which `memory_bytes` are all.
    void add(std::uint64_t offset, std::span<const std::byte, kPageBytes> recorded,
             std::span<const std::byte, kPageBytes> replayed, std::uint64_t memory_bytes);
    [[nodiscard]] const MemoryDifferences& found() const { return found_; }

  private:
    MemoryDifferences found_;
};

// One line for people, then one for each of the first others.
[[nodiscard]] std::string describe(const MemoryDifferences& found);

}  // namespace ftvmm::machine
