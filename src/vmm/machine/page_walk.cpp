#include "vmm/machine/page_walk.h"

#include <algorithm>
#include <cstring>

namespace ftvmm::machine {

namespace {

// AMD64 Architecture Programmer's Manual vol. 2, 5.3.
constexpr std::uint64_t kCr0Paging = std::uint64_t{1} << 31U;
constexpr std::uint64_t kCr4FiveLevels = 1U << 12U;
constexpr std::uint64_t kEferLongModeActive = 1U << 10U;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kUser = 1U << 2U;
constexpr std::uint64_t kLargePage = 1U << 7U;
constexpr std::uint64_t kFrame = 0x000f'ffff'ffff'f000;
constexpr unsigned kPageShift = 12;
constexpr unsigned kLevelBits = 9;
constexpr std::uint64_t kIndexMask = (1U << kLevelBits) - 1;
// Pages of 1 GiB and 2 MiB end the walk early.
constexpr unsigned kHighestLargeLevel = 2;

bool is_canonical(std::uint64_t linear, unsigned levels) {
    const unsigned unused = 64 - kPageShift - levels * kLevelBits;
    const auto extended = static_cast<std::int64_t>(linear << unused) >> unused;
    return static_cast<std::uint64_t>(extended) == linear;
}

}  // namespace

std::optional<MappedPage> walk_pages(const GuestMemory& memory, const kvm_sregs& sregs,
                                     std::uint64_t linear) {
    if ((sregs.cr0 & kCr0Paging) == 0) return MappedPage{Gpa(linear)};
    if ((sregs.efer & kEferLongModeActive) == 0) return std::nullopt;
    const unsigned levels = (sregs.cr4 & kCr4FiveLevels) != 0 ? 5 : 4;
    if (!is_canonical(linear, levels)) return std::nullopt;
    bool is_for_users = true;
    std::uint64_t table = sregs.cr3 & kFrame;
    for (unsigned level = levels; level-- > 0;) {
        const unsigned shift = kPageShift + level * kLevelBits;
        const std::uint64_t index = (linear >> shift) & kIndexMask;
        std::uint64_t entry = 0;
        const auto bytes = memory.find(Gpa(table + index * sizeof entry), sizeof entry);
        if (bytes.empty()) return std::nullopt;
        std::memcpy(&entry, bytes.data(), sizeof entry);
        if ((entry & kPresent) == 0) return std::nullopt;
        is_for_users = is_for_users && (entry & kUser) != 0;
        const bool is_page =
            level == 0 || (level <= kHighestLargeLevel && (entry & kLargePage) != 0);
        if (is_page) {
            const std::uint64_t within = (std::uint64_t{1} << shift) - 1;
            return MappedPage{Gpa((entry & kFrame & ~within) | (linear & within)), is_for_users};
        }
        table = entry & kFrame;
    }
    return std::nullopt;
}

std::size_t read_linear(const GuestMemory& memory, const kvm_sregs& sregs, std::uint64_t linear,
                        std::span<std::byte> target) {
    std::size_t done = 0;
    while (done < target.size()) {
        const std::uint64_t at = linear + done;
        const auto place = walk_pages(memory, sregs, at);
        const std::size_t count =
            std::min<std::size_t>(target.size() - done, kPageBytes - at % kPageBytes);
        const auto bytes = place ? memory.find(place->address, count) : std::span<std::byte>{};
        if (bytes.empty()) break;
        std::ranges::copy(bytes, target.begin() + static_cast<std::ptrdiff_t>(done));
        done += count;
    }
    return done;
}

}  // namespace ftvmm::machine
