// What a VM's shared folder says of who owns it, as values, as text and as JSON.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/vm_identity.h"
#include "lock/generation.h"

namespace ftvmm::cli {

struct LeaseReport {
    std::string folder;
    Generation newest;  // 0: the VM has never run.
    std::optional<lock::Claim> owner;
    std::optional<lock::OwnerRecord> record;  // The owner's, or that of one before it.
    std::vector<lock::Claim> bids;            // For the next generation.
    std::vector<std::string> damage;          // A line each, of what can not be read.
};

struct LeaseTerm {
    Generation generation;
    std::optional<lock::Claim> owner;  // Nothing where the file is damaged.
    std::chrono::sys_seconds taken;    // When the file got its name, by the storage's clock.
};

struct LeaseHistory {
    std::string folder;
    std::vector<LeaseTerm> terms;     // From the first one on.
    std::vector<std::string> damage;  // As of a LeaseReport.
};

// Both change nothing. An error where the folder can not be read.
Result<LeaseReport> read_lease(const std::string& folder, const VmUuid& vm);
Result<LeaseHistory> read_lease_history(const std::string& folder, const VmUuid& vm);

[[nodiscard]] std::string render_text(const LeaseReport& report);
[[nodiscard]] std::string render_text(const LeaseHistory& history);
// For programs; the keys are part of ftvmm's interface (docs/generations.md). Ends in a newline.
[[nodiscard]] std::string render_json(const LeaseReport& report);
[[nodiscard]] std::string render_json(const LeaseHistory& history);

}  // namespace ftvmm::cli
