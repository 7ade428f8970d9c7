#include "vmm/boot/memory_map.h"

#include <algorithm>

#include "base/check.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

namespace {

constexpr Gpa kVideoHole{0xa0000};

}  // namespace

std::vector<MemoryRange> make_memory_map(std::uint64_t ram_bytes) {
    using Kind = MemoryRange::Kind;
    FTVMM_CHECK(ram_bytes > kRomEnd.value(), "a guest has more than 1 MiB of RAM");
    const std::uint64_t low = std::min(ram_bytes, kLowRamEnd.value());
    std::vector<MemoryRange> map{
        {Gpa(0), kEbda.value(), Kind::kRam},      {kEbda, kVideoHole - kEbda, Kind::kReserved},
        {kRom, kRomEnd - kRom, Kind::kReserved},  {kRomEnd, low - kRomEnd.value(), Kind::kRam},
        {kEcamBase, kEcamBytes, Kind::kReserved},
    };
    if (ram_bytes > low) map.push_back({kHighRamStart, ram_bytes - low, Kind::kRam});
    return map;
}

}  // namespace ftvmm::boot
