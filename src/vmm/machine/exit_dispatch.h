// From an exit of the vCPU to the access that the platform answers.
#pragma once

#include "vmm/kvm/exit.h"
#include "vmm/machine/platform.h"

namespace ftvmm::machine {

// Whether `exit` is an access that depends on the time.
[[nodiscard]] bool needs_time(const kvm::Exit& exit);

// Carries out an access and writes its answer where KVM looks for it; exits that are no access do
// nothing. A string instruction's items are carried out one after another.
void dispatch(const kvm::Exit& exit, Platform& platform);

}  // namespace ftvmm::machine
