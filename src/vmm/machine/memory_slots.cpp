#include "vmm/machine/memory_slots.h"

namespace ftvmm::machine {

Result<void> set_memory_slots(const kvm::Vm& vm, const GuestMemory& memory, std::uint32_t flags) {
    std::uint32_t slot = 0;
    for (const auto& block : memory.blocks()) {
        FTVMM_TRY(vm.set_user_memory_region(slot++, block.start, block.bytes, flags));
    }
    return {};
}

Result<void> renew_memory_slots(const kvm::Vm& vm, const GuestMemory& memory) {
    std::uint32_t slot = 0;
    for (const auto& block : memory.blocks()) {
        FTVMM_TRY(vm.set_user_memory_region(slot++, block.start, {}, 0));
    }
    return set_memory_slots(vm, memory);
}

}  // namespace ftvmm::machine
