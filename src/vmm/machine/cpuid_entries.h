// CPUID as the CPU model has it and as KVM has it.
#pragma once

#include <span>
#include <vector>

#include "vmm/boot/cpu_model.h"
#include "vmm/kvm/kvm_api.h"

namespace ftvmm::machine {

[[nodiscard]] std::vector<boot::CpuidLeaf> leaves_of(std::span<const kvm_cpuid_entry2> entries);
[[nodiscard]] std::vector<kvm_cpuid_entry2> entries_of(std::span<const boot::CpuidLeaf> leaves);

}  // namespace ftvmm::machine
