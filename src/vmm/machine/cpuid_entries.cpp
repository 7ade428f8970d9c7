#include "vmm/machine/cpuid_entries.h"

namespace ftvmm::machine {

std::vector<boot::CpuidLeaf> leaves_of(std::span<const kvm_cpuid_entry2> entries) {
    std::vector<boot::CpuidLeaf> leaves;
    for (const auto& entry : entries) {
        leaves.push_back({entry.function, entry.index,
                          (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, entry.eax,
                          entry.ebx, entry.ecx, entry.edx});
    }
    return leaves;
}

std::vector<kvm_cpuid_entry2> entries_of(std::span<const boot::CpuidLeaf> leaves) {
    std::vector<kvm_cpuid_entry2> entries;
    for (const auto& leaf : leaves) {
        kvm_cpuid_entry2 entry{};
        entry.function = leaf.function;
        entry.index = leaf.index;
        entry.flags = leaf.index_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        entry.eax = leaf.eax;
        entry.ebx = leaf.ebx;
        entry.ecx = leaf.ecx;
        entry.edx = leaf.edx;
        entries.push_back(entry);
    }
    return entries;
}

}  // namespace ftvmm::machine
