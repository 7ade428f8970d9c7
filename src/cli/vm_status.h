// What a VM's half on this host is doing, as values and as the document that tells others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/vm_identity.h"
#include "lock/ownership_driver.h"
#include "node/disk_merge.h"
#include "pair/primary.h"
#include "pair/secondary_status.h"

namespace ftvmm::cli {

struct VmStatus {
    std::string name;
    std::string uuid;
    std::string host;
    enum class Phase : std::uint8_t { kStarts, kRuns, kHasEnded };
    Phase phase = Phase::kStarts;  // Of the VM that runs here; a Secondary has none.
    Generation generation;         // That this host owns; 0: none.
    // For how long the storage's lease is held yet; nothing: it is not.
    std::optional<BootClock::duration> lease_left;
    std::string trouble;                  // Of the storage, or empty.
    std::vector<node::DiskLayers> disks;  // Those that are in layers, or were.
    // What the VM is here, if it is one of two.
    std::optional<pair::PrimaryStatus> primary;
    std::optional<pair::SecondaryStatus> secondary;
};

// What the storage says of who runs the VM. Any thread.
void add_lease(VmStatus& status, const lock::Ownership& ownership);

// One JSON document; the keys are part of ftvmm's interface (docs/status.md), and all there, null
// where there is nothing to tell. Ends in a newline.
[[nodiscard]] std::string render_json(const VmStatus& status);

}  // namespace ftvmm::cli
