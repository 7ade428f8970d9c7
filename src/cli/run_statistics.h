// A run in numbers, for people and for scripts.
#pragma once

#include <string>

#include "node/statistics.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::cli {

// One line each for the guest's exits by kind, the inputs and the outputs: "exits 4711: OUT 4000,
// ...". Kinds that never came are left out.
[[nodiscard]] std::string describe(const machine::ExitCounts& exits,
                                   const node::Statistics& statistics);

}  // namespace ftvmm::cli
