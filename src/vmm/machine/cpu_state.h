// The vCPU's registers: as a kernel's entry wants them, and as a whole, for save and restore.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "replay/cpu_registers.h"
#include "vmm/boot/cpu_model.h"
#include "vmm/boot/entry_state.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/msr_policy.h"

namespace ftvmm::machine {

// All that the guest can tell one vCPU from another by. `xsave` holds the FPU of every model:
// KVM_GET_FPU shows registers in their initial state as they last were, and KVM_SET_FPU leaves them
// there. `xcr0` counts for models that have XSAVE.
struct CpuState {
    kvm_regs regs{};
    kvm_sregs sregs{};
    kvm_xsave xsave{};
    std::uint64_t xcr0 = 0;
    kvm_debugregs debug{};
    kvm_vcpu_events events{};
    std::array<std::uint64_t, kProcessorMsrs.size()> msrs{};
};

// Those of them that people are told of.
[[nodiscard]] replay::CpuRegisters registers_of(const kvm_regs& regs, const kvm_sregs& sregs);

// Parts of the FPU that a guest of `model` has, as bits of XCR0.
[[nodiscard]] std::uint64_t fpu_parts(boot::CpuModel model);
// Where in `xsave` the mask of the parts is that it holds (Intel SDM volume 1, 13.4.2).
inline constexpr std::size_t kXstateBvWord = 128;

// No exit may be pending: see Vcpu::complete().
[[nodiscard]] Result<CpuState> read_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model);
// Of a new vCPU that has been given its CPUID. KVM refuses what no processor can be in.
[[nodiscard]] Result<void> write_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model,
                                           const CpuState& state);

// Makes a new vCPU stand at the kernel's entry.
[[nodiscard]] Result<void> write_entry_state(const kvm::Vcpu& vcpu, const boot::EntryState& entry);

}  // namespace ftvmm::machine
