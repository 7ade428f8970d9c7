// What `run` and `secondary` are told of the link between them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/vm_config.h"
#include "ftlink/link_options.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::cli {

struct PairLink {
    std::string address;             // "192.0.2.1:4242", "[2001:db8::1]:4242".
    std::string pki;                 // The folder of this host's certificate.
    std::vector<std::string> peers;  // The other host is one of these, as in its certificate.
};

// An error names the option that can not be used.
[[nodiscard]] Result<ftlink::LinkOptions> link_options_of(
    const PairLink& link, ftlink::LinkRole role, const config::VmConfig& config,
    const machine::MachineConfig& machine, const kvm::System& system, const std::string& build);

// "192.0.2.1:4242", "[2001:db8::1]:4242".
[[nodiscard]] Result<ftlink::TlsAddress> address_of(const std::string& text);

}  // namespace ftvmm::cli
