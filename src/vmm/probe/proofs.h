// One proof per ability: a small guest that shows whether this host really has it.
//
// Each returns what was seen, for people, or an error that says what went wrong. None needs
// anything but KVM, none leaves anything behind, and each ends within SmallGuest::kPatience per
// exit.
#pragma once

#include <string>

#include "base/result.h"
#include "vmm/kvm/system.h"

namespace ftvmm::proofs {

Result<std::string> port_io(const kvm::System& system);
Result<std::string> immediate_exit(const kvm::System& system);
Result<std::string> sync_regs(const kvm::System& system);
Result<std::string> interrupts(const kvm::System& system);
Result<std::string> user_mode(const kvm::System& system);
Result<std::string> kernel_sse(const kvm::System& system);
Result<std::string> fpu_switch(const kvm::System& system);
Result<std::string> single_step(const kvm::System& system);
Result<std::string> hardware_breakpoints(const kvm::System& system);
Result<std::string> msr_exits(const kvm::System& system);
Result<std::string> dirty_log(const kvm::System& system);
Result<std::string> dirty_ring(const kvm::System& system);
Result<std::string> tsc_control(const kvm::System& system);
Result<std::string> branch_counter(const kvm::System& system);

}  // namespace ftvmm::proofs
