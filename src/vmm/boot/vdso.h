// The vDSOs in a kernel: whole shared objects in its data that Linux maps into every process.
//
// They tell the time without a system call, and for that they execute RDTSC in user space.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "vmm/boot/elf_file.h"
#include "vmm/boot/tsc_sites.h"

namespace ftvmm::boot {

struct Vdso {
    CodeMode mode;
    // Its executable sections, at least one, ascending and without overlap. Offsets are those in
    // the kernel's file and addresses the kernel's own; names say whose they are: "vDSO .text",
    // "x32 vDSO .text", "32-bit vDSO .text".
    std::vector<ElfSection> code;
};

// Every vDSO in the data of the kernel `bytes`, whose parse_elf() is `elf`. What is not sound, is
// larger than any vDSO or is another kind of ELF file is none, and what it holds is not looked at.
// Takes time in proportion to the kernel's size, whatever it holds.
std::vector<Vdso> find_vdsos(std::span<const std::byte> bytes, const ElfFile& elf);

}  // namespace ftvmm::boot
