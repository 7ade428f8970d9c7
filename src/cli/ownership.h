// What a VM's shared folder says of this host.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "config/vm_config.h"
#include "lock/ownership_driver.h"

namespace ftvmm::cli {

// Of a VM that has one: requires config.ft. An error: the folder can not be used.
[[nodiscard]] Result<std::unique_ptr<lock::Ownership>> open_ownership(
    const config::VmConfig& config);

// This host's name, for people.
[[nodiscard]] std::string host_name();

}  // namespace ftvmm::cli
