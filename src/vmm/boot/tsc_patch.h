// Taking the processor's time stamp counter out of a kernel before it runs.
//
// KVM cannot trap RDTSC, and x86-64 Linux executes it whatever CPUID says. So each RDTSC of the
// kernel's code becomes MOV EAX,EAX and each RDTSCP the same with a one-byte NOP: no exit, no flag
// changed, the same value on both sides. So do those of its vDSOs, the kernel's code in user space,
// which reads the clock with them (vdso.h). Programs, their libraries and kernel modules are not
// touched.
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
    std::string name;  // With its vDSO's, if it is in one: "vDSO .text".
    std::uint64_t bytes = 0;
    std::size_t rdtsc = 0;
    std::size_t rdtscp = 0;
    // Their bytes seen inside other instructions, left alone.
    std::size_t lookalikes = 0;
    // How much was disassembled to tell the two apart: all of a small section, of a large one a
    // stretch before each candidate. And the bytes of that at which no instruction starts that the
    // disassembler knows; what else a large section holds is not known.
    std::size_t swept_bytes = 0;
    std::size_t undecoded_bytes = 0;

    [[nodiscard]] std::size_t sites() const { return rdtsc + rdtscp; }
};

struct TscPatchReport {
    std::vector<PatchedSection> sections;  // The kernel's own, then those of its vDSOs.
    // Some kernels have none. Three are usual: for 64-bit, x32 and 32-bit programs.
    std::size_t vdsos = 0;

    [[nodiscard]] std::size_t sites() const;
    // "124 sites (.text 90, ..., vDSO .text 3) in the kernel and its 3 vDSOs".
    [[nodiscard]] std::string summary() const;
};

// What is swept of a section may hold this many bytes that do not decode (padding, a table between
// two functions), or one in kUndecodedShare of it if that is more. Above that it is no code, or
// none that the disassembler knows, and what it says of the rest counts for nothing.
inline constexpr std::size_t kMaxUndecodedBytes = 64;
inline constexpr std::size_t kUndecodedShare = 2000;

// Patches every executable section of `bytes`, whose parse_elf() is `elf`, and of the vDSOs in its
// data. Where RDTSC's bytes do not stand there is none; where they do, what they are is what a
// sweep of the whole section would say (tsc_sites.h). A kernel without section headers, with too
// much that does not decode or, in a section too large to be swept whole, with data too close to
// such bytes is refused and stays as it is. One in which no vDSO is found is not.
Result<TscPatchReport> patch_tsc(std::span<std::byte> bytes, const ElfFile& elf);

}  // namespace ftvmm::boot
