// The guest's RAM as KVM's memory slots: slot n is block n of GuestMemory::blocks().
#pragma once

#include <cstdint>

#include "base/result.h"
#include "vmm/kvm/vm.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

// Makes the slots, or changes their `flags` (KVM_MEM_LOG_DIRTY_PAGES or none).
[[nodiscard]] Result<void> set_memory_slots(const kvm::Vm& vm, const GuestMemory& memory,
                                            std::uint32_t flags = 0);

// Takes the slots away and gives them back: KVM drops every translation that it has made of the
// guest's, shadow pages too, and forgets which pages were dirty. The vCPU does not run.
[[nodiscard]] Result<void> renew_memory_slots(const kvm::Vm& vm, const GuestMemory& memory);

}  // namespace ftvmm::machine
