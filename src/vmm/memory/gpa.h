// Guest-physical addresses.
#pragma once

#include "base/strong_id.h"

namespace ftvmm {

// A guest-physical address, in bytes.
using Gpa = StrongId<struct GpaTag>;

inline constexpr std::uint64_t kPageBytes = 4096;

}  // namespace ftvmm
