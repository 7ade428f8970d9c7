#include "vmm/boot/memory_map.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {
namespace {

constexpr std::uint64_t kMib = 1 << 20;

TEST_CASE("The memory map has all RAM, and what exceeds 3 GiB from 4 GiB on") {
    using Kind = MemoryRange::Kind;
    for (const std::uint64_t ram : {512 * kMib, 3072 * kMib, 5120 * kMib}) {
        const auto map = make_memory_map(ram);
        for (std::size_t i = 1; i < map.size(); ++i)
            CHECK(map[i].start >= map[i - 1].start + map[i - 1].bytes);
        const std::uint64_t low = std::min(ram, 3072 * kMib);
        CHECK(map.at(0) == MemoryRange{Gpa(0), 0x9fc00, Kind::kRam});
        CHECK(map.at(3) == MemoryRange{Gpa(kMib), low - kMib, Kind::kRam});
        CHECK(map.at(4) == MemoryRange{kEcamBase, kEcamBytes, Kind::kReserved});
        REQUIRE(map.size() == (ram > low ? 6 : 5));
        if (ram > low) CHECK(map[5] == MemoryRange{kHighRamStart, ram - low, Kind::kRam});
    }
}

}  // namespace
}  // namespace ftvmm::boot
