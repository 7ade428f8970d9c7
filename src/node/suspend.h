// A running VM into a file, between two instructions of its guest.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::node {

// Completes the instruction that the guest stands in and saves the machine to `path`; it can go on
// afterwards. In a VcpuControl::call(). An error: the guest ended with that instruction, or the
// file could not be written, and then the guest is as it was.
[[nodiscard]] Result<void> suspend(machine::KvmMachine& machine, const std::string& path,
                                   std::string_view identity);

}  // namespace ftvmm::node
