// The memory map that the guest is told.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/memory/gpa.h"

namespace ftvmm::boot {

// PCI's configuration space, one bus of it: reserved, or Linux will not use it.
inline constexpr Gpa kEcamBase{0xe0000000};
inline constexpr std::uint64_t kEcamBytes = 1 << 20;

// Where a PC's firmware keeps its own data, with which its low RAM ends, and its ROM, which holds
// the ACPI tables.
inline constexpr Gpa kEbda{0x9fc00};
inline constexpr Gpa kRom{0xe0000};
inline constexpr Gpa kRomEnd{0x100000};

struct MemoryRange {
    enum class Kind { kRam, kReserved };
    Gpa start;
    std::uint64_t bytes;
    Kind kind;

    bool operator==(const MemoryRange&) const = default;
};

// The e820 map of a guest with `ram_bytes` of RAM (more than 1 MiB), by address, without overlap.
// Below 1 MiB it is that of a PC; the window of PCI's BARs is in no range.
[[nodiscard]] std::vector<MemoryRange> make_memory_map(std::uint64_t ram_bytes);

}  // namespace ftvmm::boot
