#include "vmm/boot/memory_map.h"

#include <algorithm>

#include "base/check.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

namespace {

// Where a PC's firmware keeps its own data, and its ROM, which holds the ACPI tables.
constexpr Gpa kEbda{0x9fc00};
constexpr Gpa kVideoHole{0xa0000};
constexpr Gpa kRom{0xe0000};
constexpr Gpa kOneMib{0x100000};

}  // namespace

std::vector<MemoryRange> make_memory_map(std::uint64_t ram_bytes) {
    using Kind = MemoryRange::Kind;
    FTVMM_CHECK(ram_bytes > kOneMib.value(), "a guest has more than 1 MiB of RAM");
    const std::uint64_t low = std::min(ram_bytes, kLowRamEnd.value());
    std::vector<MemoryRange> map{
        {Gpa(0), kEbda.value(), Kind::kRam},      {kEbda, kVideoHole - kEbda, Kind::kReserved},
        {kRom, kOneMib - kRom, Kind::kReserved},  {kOneMib, low - kOneMib.value(), Kind::kRam},
        {kEcamBase, kEcamBytes, Kind::kReserved},
    };
    if (ram_bytes > low) map.push_back({kHighRamStart, ram_bytes - low, Kind::kRam});
    return map;
}

}  // namespace ftvmm::boot
