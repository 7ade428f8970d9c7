// Taking the processor's time stamp counter out of a kernel before it runs.
//
// KVM cannot trap RDTSC, and x86-64 Linux executes it whatever CPUID says. So each RDTSC of the
// kernel's code becomes MOV EAX,EAX and each RDTSCP the same with a one-byte NOP: no exit, no flag
// changed, the same value on both sides. User space and kernel modules are not touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/boot/elf_file.h"

namespace ftvmm::boot {

struct PatchedSection {
    std::string name;
    std::uint64_t bytes = 0;
    std::size_t rdtsc = 0;
    std::size_t rdtscp = 0;
    // Bytes at which no instruction starts that the disassembler knows.
    std::size_t undecoded_bytes = 0;
    // RDTSC's two bytes seen inside other instructions, left alone.
    std::size_t lookalikes = 0;

    [[nodiscard]] std::size_t sites() const { return rdtsc + rdtscp; }
};

struct TscPatchReport {
    std::vector<PatchedSection> sections;

    [[nodiscard]] std::size_t sites() const;
    // "124 sites (.text 90, ...)".
    [[nodiscard]] std::string summary() const;
};

// A section's code may hold this many bytes that do not decode (padding, a table between two
// functions), or one in kUndecodedShare of it if that is more. Above that the sweep cannot vouch
// for having seen every instruction.
inline constexpr std::size_t kMaxUndecodedBytes = 64;
inline constexpr std::size_t kUndecodedShare = 2000;

// Patches every executable section of `bytes`, whose parse_elf() is `elf`. A kernel without section
// headers or with too much that does not decode is refused; `bytes` may then be patched in part.
Result<TscPatchReport> patch_tsc(std::span<std::byte> bytes, const ElfFile& elf);

}  // namespace ftvmm::boot
