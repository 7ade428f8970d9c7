// Tells a network where a VM's card is now.
#pragma once

#include <array>
#include <cstdint>

#include "replay/output.h"

namespace ftvmm::pair {

// A broadcast from the card `mac`, the guest's card `nic`: every bridge and switch that it passes
// learns the way to it. A RARP request (RFC 903), which nobody answers.
[[nodiscard]] replay::Output announcement(std::uint32_t nic,
                                          const std::array<std::uint8_t, 6>& mac);

}  // namespace ftvmm::pair
