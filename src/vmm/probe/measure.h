// How fast this host is at the two things that decide a guest's speed.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "vmm/kvm/system.h"

namespace ftvmm {

// A round trip to userspace (an OUT), in microseconds: the median of many short batches.
Result<double> measure_exit_us(const kvm::System& system, const Clock& clock);

// Straight code in kernel mode, in million instructions per second.
Result<double> measure_million_instructions_per_s(const kvm::System& system, const Clock& clock);

}  // namespace ftvmm
