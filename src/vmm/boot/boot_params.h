// What a kernel is told at its start: the zero page and all that it points to.
//
// Sources: Documentation/arch/x86/boot.rst ("64-bit Boot Protocol") and zero-page.rst.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

inline constexpr std::size_t kRngSeedBytes = 32;

struct BootInputs {
    std::span<const std::byte> initrd;  // May be empty.
    std::string_view command_line;      // All of it: see kernel_command_line().
    // What the guest's random numbers start from; the same on both sides of a pair.
    std::array<std::byte, kRngSeedBytes> rng_seed;
    Gpa rsdp;  // From write_acpi_tables().
};

// Where a kernel finds its things.
struct BootPlan {
    Gpa zero_page;
    Gpa initrd;  // 0 without one.
    std::uint64_t initrd_bytes;
};

// The parameters that this machine needs, then the user's, so that where both name one the user's
// counts.
[[nodiscard]] std::string kernel_command_line(std::string_view user);

// Writes the initrd, the command line, the seed and the zero page, with the memory map of all of
// `memory`. `loaded` is where load_kernel() has put `kernel`. On an error nothing is written.
Result<BootPlan> write_boot_params(const KernelImage& kernel, const LoadedKernel& loaded,
                                   const BootInputs& inputs, const GuestMemory& memory);

}  // namespace ftvmm::boot
