// Examines this host: what its KVM is, what it can do, how fast it is.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "vmm/kvm/system.h"
#include "vmm/probe/finding.h"

namespace ftvmm {

// Whether this host really has `ability`, by its proof or measurement alone.
Finding prove(const kvm::System& system, Ability ability);

// Runs every proof and measurement, about two seconds on hardware. `progress` is called with the
// title of each step as it starts. An error means that KVM cannot be used at all.
Result<HostReport> examine_host(const kvm::System& system,
                                const std::function<void(std::string_view)>& progress);

}  // namespace ftvmm
