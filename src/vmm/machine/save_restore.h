// A machine into a file, and back.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::machine {

// Saves `machine`, which stands complete (KvmMachine::state()) and can go on afterwards, to `path`.
// On an error, and if the host dies meanwhile, what was at `path` is still there and whole.
// `identity` names the VM for check_same_machine().
Result<void> save_machine(const KvmMachine& machine, const std::string& path,
                          std::string_view identity = {});

// The machine that was saved to `path`. Every byte of the file has been checked before it can run.
// Its now() is when the guest stood: whoever drives it lets guest time go on from there.
Result<std::unique_ptr<KvmMachine>> restore_machine(const kvm::System& system,
                                                    const MachineConfig& config,
                                                    const std::string& path,
                                                    std::string_view identity = {});

}  // namespace ftvmm::machine
