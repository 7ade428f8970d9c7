#include "vmm/machine/memory_difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

namespace {

constexpr std::size_t kWords = kPageBytes / sizeof(std::uint64_t);
using Words = std::array<std::uint64_t, kWords>;

Words words_of(std::span<const std::byte, kPageBytes> page) {
    Words words{};
    std::memcpy(words.data(), page.data(), page.size());
    return words;
}

// Intel SDM volume 3, 4.5: an entry of any level.
constexpr std::uint64_t kPresent = 1U << 0U;
constexpr std::uint64_t kAccessedAndDirty = 1U << 5U | 1U << 6U;
// Linux's entries of pages that no access is allowed to: not present, and marked.
constexpr std::uint64_t kProtNone = 1U << 8U;
constexpr std::uint64_t kFrame = 0x000f'ffff'ffff'f000;

bool is_entry(std::uint64_t word, std::uint64_t memory_bytes) {
    if (word == 0) return true;
    if ((word & (kPresent | kProtNone)) == 0) return false;
    // Memory goes on above the devices, which end where that begins.
    return (word & kFrame) < kHighRamStart.value() + memory_bytes;
}

bool is_page_table(const Words& words, std::uint64_t memory_bytes) {
    return std::ranges::all_of(words, [&](std::uint64_t w) { return is_entry(w, memory_bytes); });
}

constexpr unsigned kHalf = 32;

std::uint16_t mark_of_half(std::uint64_t half) {
    return static_cast<std::uint16_t>(half >> 16U);
}
// RDTSC gives it in two halves of 32 bits; only the upper one has a mark.
bool has_marks(std::uint64_t recorded, std::uint64_t replayed) {
    const auto half_has = [&](unsigned shift) {
        return mark_of_half(recorded >> shift) == kRecordedTscMark &&
               mark_of_half(replayed >> shift) == kReplayedTscMark;
    };
    const bool is_upper_half_same = recorded >> kHalf == replayed >> kHalf;
    return half_has(kHalf) || (half_has(0) && is_upper_half_same);
}
// An interval of some minutes, or a lower half, beside what may be anything.
bool may_be_left_over(std::uint64_t recorded, std::uint64_t replayed) {
    constexpr std::uint64_t kMostInterval = std::uint64_t{1} << 40U;
    const bool is_interval = recorded < kMostInterval && replayed < kMostInterval;
    return is_interval || recorded >> kHalf == replayed >> kHalf;
}

}  // namespace

void MemoryComparison::add(std::uint64_t offset, std::span<const std::byte, kPageBytes> recorded,
                           std::span<const std::byte, kPageBytes> replayed,
                           std::uint64_t memory_bytes) {
    if (std::memcmp(recorded.data(), replayed.data(), kPageBytes) == 0) return;
    ++found_.pages;
    const Words was = words_of(recorded);
    const Words is = words_of(replayed);
    bool is_marked = false;
    for (std::size_t i = 0; i < kWords; ++i)
        is_marked = is_marked || has_marks(was.at(i), is.at(i));
    const bool is_table = is_page_table(was, memory_bytes) && is_page_table(is, memory_bytes);
    for (std::size_t i = 0; i < kWords; ++i) {
        const std::uint64_t difference = was.at(i) ^ is.at(i);
        if (difference == 0) continue;
        if (is_table && (difference & ~kAccessedAndDirty) == 0) {
            ++found_.accessed_or_dirty;
        } else if (has_marks(was.at(i), is.at(i)) ||
                   (is_marked && may_be_left_over(was.at(i), is.at(i)))) {
            ++found_.tsc;
        } else {
            ++found_.other;
            if (found_.first.size() < MemoryDifferences::kMostPlaces) {
                found_.first.push_back({offset + i * sizeof was.at(i), was.at(i), is.at(i)});
            }
        }
    }
}

std::string describe(const MemoryDifferences& found) {
    std::string text = fmt::format(
        "{} pages of memory differ: {} words of page tables in their accessed and dirty bits, {} "
        "words of the time stamp counter, {} others",
        found.pages, found.accessed_or_dirty, found.tsc, found.other);
    for (const auto& place : found.first) {
        text += fmt::format("\n  byte {:#x}: recorded {:016x}, replayed {:016x}", place.offset,
                            place.recorded, place.replayed);
    }
    return text;
}

}  // namespace ftvmm::machine
