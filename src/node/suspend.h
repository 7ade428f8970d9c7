// A running VM into a file, between two instructions of its guest.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "node/vcpu_control.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::node {

// Completes the instruction that the guest stands in: it stands between two, as
// KvmMachine::state() needs it. What it puts out meanwhile is in take_outputs(). In a
// VcpuControl::call(). An error: the guest ended with that instruction.
[[nodiscard]] Result<void> complete(machine::KvmMachine& machine);

// Disks do not reach the machine's memory from here on, as a save needs it: waits for those that
// do, while the guest runs on. Any thread but the vCPU's. An error: the run ended first, or a disk
// gave no answer for too long; then, too, they reach it no more.
[[nodiscard]] Result<void> settle_disks(VcpuControl& control);

// Completes the instruction that the guest stands in and saves the machine to `path`; it can go on
// afterwards. Behind settle_disks(), in a VcpuControl::call(). An error: the guest ended with that
// instruction or started anew behind settle_disks(), or the file could not be written, and then the
// guest is as it was.
[[nodiscard]] Result<void> suspend(machine::KvmMachine& machine, const std::string& path,
                                   std::string_view identity);

}  // namespace ftvmm::node
