// What two hosts of a pair, and the storage they share, call one VM and its times under a Primary.
#pragma once

#include <array>
#include <cstdint>

#include "base/strong_id.h"

namespace ftvmm {

// The bytes of a VM's UUID (RFC 4122), as its text has them from left to right.
using VmUuid = std::array<std::uint8_t, 16>;

// The term of one Primary, numbered on shared storage from 1 on; 0 is none.
using Generation = StrongId<struct GenerationTag>;

}  // namespace ftvmm
