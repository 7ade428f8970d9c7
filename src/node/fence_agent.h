// The administrator's command that ends a host which may still write.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/result.h"

namespace ftvmm::node {

struct FenceAgent {
    std::string command;  // A program's path; given the host's name and the VM's.
    std::string host;
    std::string vm;
    std::chrono::milliseconds deadline{60'000};
};

// Runs it and waits: it says by exit code 0 that nothing of that host will be written any more. An
// error says how it failed; a command that takes longer than its deadline, or while `stops`, is
// killed, with all that it started in its process group. Not a thread that signals go to.
[[nodiscard]] Result<void> fence(const FenceAgent& agent, const std::atomic<bool>& stops);

}  // namespace ftvmm::node
