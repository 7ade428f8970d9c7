// What a VM's log says it belongs to.
#pragma once

#include <string>

#include "base/result.h"
#include "config/vm_config.h"
#include "node/host_parts.h"
#include "replay/log_header.h"
#include "vmm/kvm/system.h"

namespace ftvmm::node {

// Of a run of `config`, read from `config_file`, on this host with these files, now.
[[nodiscard]] Result<replay::LogHeader> log_header_of(const kvm::System& system,
                                                      const config::VmConfig& config,
                                                      const machine::MachineConfig& machine,
                                                      const BootFiles& files,
                                                      const std::string& config_file,
                                                      const std::string& build);

// What must be equal on two hosts for a guest of `model` to be the same on both: the processor, and
// what of it the guest is shown.
[[nodiscard]] Result<std::string> cpu_identity_of(const kvm::System& system, boot::CpuModel model);

}  // namespace ftvmm::node
