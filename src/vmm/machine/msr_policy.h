// Which model-specific registers the guest has, and who answers for them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "vmm/kvm/vm.h"

namespace ftvmm::machine {

// The processor state that is kept in MSRs, which KVM handles: SYSENTER and SYSCALL, the segment
// bases, EFER and the page attribute table. All that is saved of a vCPU's MSRs.
inline constexpr std::array<std::uint32_t, 12> kProcessorMsrs{
    0x174,       0x175,       0x176,                                  // IA32_SYSENTER_*
    0x277,                                                            // IA32_PAT
    0xc000'0080, 0xc000'0081, 0xc000'0082, 0xc000'0083, 0xc000'0084,  // EFER, STAR to SFMASK
    0xc000'0100, 0xc000'0101, 0xc000'0102,                            // FS, GS, KERNEL_GS base
};

// Sends every other MSR to userspace.
[[nodiscard]] Result<void> install_msr_filter(const kvm::Vm& vm);

// The registers that every x86-64 processor answers for and whose value here never changes: what
// RDMSR gives. Nothing means #GP, which is what a processor without the register does.
[[nodiscard]] std::optional<std::uint64_t> read_constant_msr(std::uint32_t msr);
// Whether a write of `value` is one that such a register takes and forgets; false means #GP.
[[nodiscard]] bool write_constant_msr(std::uint32_t msr, std::uint64_t value);

}  // namespace ftvmm::machine
