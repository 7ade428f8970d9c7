// The vCPU's registers: as a kernel's entry wants them, and as a whole, for save and restore.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "vmm/boot/cpu_model.h"
#include "vmm/boot/entry_state.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/msr_policy.h"

namespace ftvmm::machine {

// All that the guest can tell one vCPU from another by. `xsave` and `xcrs` count for models that
// have XSAVE, `fpu` for the others.
struct CpuState {
    kvm_regs regs{};
    kvm_sregs sregs{};
    kvm_fpu fpu{};
    kvm_xsave xsave{};
    kvm_xcrs xcrs{};
    kvm_debugregs debug{};
    kvm_vcpu_events events{};
    std::array<std::uint64_t, kProcessorMsrs.size()> msrs{};
};

// No exit may be pending: see Vcpu::complete().
[[nodiscard]] Result<CpuState> read_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model);
// Of a vCPU that has been given its CPUID. KVM refuses what no processor can be in.
[[nodiscard]] Result<void> write_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model,
                                           const CpuState& state);

// Makes a new vCPU stand at the kernel's entry.
[[nodiscard]] Result<void> write_entry_state(const kvm::Vcpu& vcpu, const boot::EntryState& entry);

}  // namespace ftvmm::machine
