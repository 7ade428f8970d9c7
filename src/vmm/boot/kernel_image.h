// A Linux kernel file, unpacked, and its way into guest memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/boot/elf_file.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

// What a bzImage says about itself (Documentation/x86/boot.rst, "The Real-Mode Kernel Header"); for
// an ELF file, which says nothing, the values every kernel of the last years has.
struct KernelHeader {
    std::uint16_t protocol = 0x20c;
    std::uint32_t command_line_bytes = 2047;     // Without the terminating zero.
    std::uint32_t initrd_addr_max = 0x7fffffff;  // Of the initrd's last byte.
    std::uint32_t kernel_alignment = 0x200000;
    std::uint16_t xloadflags = 1;  // XLF_KERNEL_64
    std::uint32_t init_size = 0;
};

// An ELF kernel with its facts. Its bytes may be patched before they are loaded.
struct KernelImage {
    KernelHeader header;
    // A bzImage's setup header as it is in the file, from offset 0x1f1 to its own end; empty for an
    // ELF file.
    std::vector<std::byte> setup_header;
    Mapping file;  // Unpacked.
    ElfFile elf;

    [[nodiscard]] std::span<std::byte> bytes() const { return file.bytes(); }
};

// Where a kernel lies once loaded.
struct LoadedKernel {
    Gpa entry;  // Of the 64-bit entry protocol.
    Gpa start;
    Gpa end;  // Behind its last byte, bss and brk included.
};

// Reads a bzImage of boot protocol 2.12 or later or an ELF vmlinux; `file` is the whole file.
Result<KernelImage> read_kernel(std::span<const std::byte> file);

// Copies the segments to their physical addresses in `memory` and zeroes what follows them. All of
// them must lie between 1 MiB and the end of low RAM; otherwise nothing is written.
Result<LoadedKernel> load_kernel(const KernelImage& kernel, const GuestMemory& memory);

}  // namespace ftvmm::boot
