// What a VM that several hosts may run asks of the parts of the one that does.
#pragma once

#include <atomic>

#include "base/result.h"
#include "config/vm_config.h"
#include "node/host_parts.h"
#include "node/log.h"

namespace ftvmm::node {

// What a host has written and keeps in its memory is lost with it, though the guest was told that
// it is done. An error: a disk that can be written is used through the page cache.
[[nodiscard]] Result<void> check_shared(const config::VmConfig& config, const HostParts& parts);

// For a host that takes the VM over: nobody else has its state, so what the host lacks is waited
// for, until `stops`. Locks that are not free are done without.
[[nodiscard]] Result<HostParts> await_shared_parts(const config::VmConfig& config,
                                                   const std::atomic<bool>& stops, const Log& log);

// Waits for the locks of its disks, for some seconds at most: what a process had begun when it
// ended is done or given up once they are free; one that lives halts, as it has lost the VM.
void drain(HostParts& parts);

}  // namespace ftvmm::node
