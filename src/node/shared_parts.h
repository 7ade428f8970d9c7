// What a VM that several hosts may run asks of the parts of the one that does.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "config/vm_config.h"
#include "node/host_parts.h"
#include "node/log.h"
#include "node/taps_ahead.h"

namespace ftvmm::node {

// An error: a disk that can be written is used through the page cache, where what a host was told
// is done is lost with it; or its locks are this host's own, and do not tell whether another one
// may still write.
[[nodiscard]] Result<void> check_shared(const config::VmConfig& config, const HostParts& parts);

struct Takeover {
    std::uint64_t generation = 0;  // What this host has won.
    // The lost host's kernel lives.
    bool host_answers = false;
};
// For a host that takes the VM over: nobody else has its state, so what the host lacks is waited
// for, until `stops`. The lost host may yet write to a disk whose lock is not free: this host
// writes beside that disk. The locks are waited for, for a moment, only where they must come free:
// of a process that ended, once what it had begun is done or given up. `ahead`, if it is there, is
// taken from.
[[nodiscard]] Result<HostParts> await_shared_parts(const config::VmConfig& config,
                                                   const Takeover& takeover, TapsAhead* ahead,
                                                   const std::atomic<bool>& stops, const Log& log);

}  // namespace ftvmm::node
