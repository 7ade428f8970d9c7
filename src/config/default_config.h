// The vm.toml that a new VM begins with.
#pragma once

#include <string>
#include <string_view>

#include "config/identity.h"

namespace ftvmm::config {

// A commented vm.toml with one disk and one card, which parses as it stands. `name` is a VM's name,
// `mac` a card's own address.
[[nodiscard]] std::string default_config_text(std::string_view name, const Uuid& uuid,
                                              const MacAddress& mac);

}  // namespace ftvmm::config
