// A run in numbers, for people and for scripts.
#pragma once

#include <string>

#include "node/statistics.h"
#include "pair/primary.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::cli {

// A line or two of how the VM is protected.
[[nodiscard]] std::string describe(const pair::PrimaryStatus& status);

// One line each for the guest's exits by kind, the inputs and the outputs: "exits 4711: OUT 4000,
// ...". Kinds that never came are left out.
[[nodiscard]] std::string describe(const machine::ExitCounts& exits,
                                   const node::Statistics& statistics);

// Where the time of a recorded guest's checkpoints went, and how many pages were in them.
[[nodiscard]] std::string describe(const machine::CheckpointCosts& costs);

}  // namespace ftvmm::cli
