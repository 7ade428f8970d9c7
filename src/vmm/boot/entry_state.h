// The state in which a kernel's 64-bit entry is called.
#pragma once

#include <cstdint>

#include "vmm/boot/kernel_image.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

// A segment register with its hidden part, field by field as the processor manuals have it.
struct Segment {
    std::uint64_t base;
    std::uint32_t limit;  // In bytes, whatever g is.
    std::uint16_t selector;
    std::uint8_t type;
    bool s;  // Code or data; clear for a system segment.
    std::uint8_t dpl;
    bool present;
    bool l;
    bool db;
    bool g;

    bool operator==(const Segment&) const = default;
};

// Every register not named is 0, the LDT is not usable and the IDT empty: the kernel brings its
// own before it lets an interrupt or fault through.
struct EntryState {
    std::uint64_t rip;
    std::uint64_t rsi;  // The zero page.
    std::uint64_t rsp;
    std::uint64_t rflags;  // Interrupts off.
    std::uint64_t cr0;
    std::uint64_t cr3;
    std::uint64_t cr4;
    std::uint64_t efer;
    std::uint64_t gdt_base;
    std::uint16_t gdt_limit;
    Segment code;  // CS
    Segment data;  // DS, ES, FS, GS, SS
    Segment task;  // TR, which KVM on Intel wants to be that of a busy task.
};

// Writes the page tables, which map the first 4 GiB to themselves, and the GDT (boot.rst, "64-bit
// Boot Protocol"). The zero page is write_boot_params()'s.
EntryState write_entry_state(const LoadedKernel& loaded, const GuestMemory& memory);

}  // namespace ftvmm::boot
