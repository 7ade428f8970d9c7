// Where below 1 MiB the structures lie that a starting kernel reads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "vmm/boot/memory_map.h"
#include "vmm/memory/gpa.h"

namespace ftvmm::boot {

struct Region {
    Gpa start;
    std::uint64_t bytes;

    [[nodiscard]] constexpr Gpa end() const { return start + bytes; }
};

// In RAM. The first 0x500 bytes are a PC's interrupt vectors and BIOS data, which Linux looks at
// and must find empty.
inline constexpr Region kGdt{Gpa(0x500), 0x100};
inline constexpr Region kZeroPage{Gpa(0x7000), kPageBytes};
inline constexpr Region kStack{Gpa(0x8000), kPageBytes};
inline constexpr Region kPageTables{Gpa(0x9000), 6 * kPageBytes};
inline constexpr Region kSetupData{Gpa(0xf000), kPageBytes};
// Twice what any Linux for x86 takes (COMMAND_LINE_SIZE is 2048), the terminating zero included.
inline constexpr Region kCommandLine{Gpa(0x10000), kPageBytes};

// In what the memory map reserves as ROM. The RSDP is at its start, where the scan of a kernel that
// does not read acpi_rsdp_addr finds it too.
inline constexpr Region kAcpiTables{kRom, kRomEnd - kRom};

inline constexpr std::array kLowRegions{kGdt,        kZeroPage,  kStack,
                                        kPageTables, kSetupData, kCommandLine};
static_assert(kGdt.start >= Gpa(0x500));
static_assert(std::ranges::adjacent_find(kLowRegions, [](const Region& a, const Region& b) {
                  return a.end() > b.start;
              }) == kLowRegions.end());
static_assert(kLowRegions.back().end() <= kEbda);

}  // namespace ftvmm::boot
