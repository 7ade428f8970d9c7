#include "replay/input.h"

#include <array>

namespace ftvmm::replay {

const char* name_of(const Input& input) {
    static constexpr std::array kNames{"time",     "wall clock", "console",     "packet",
                                       "disk end", "entropy",    "power button"};
    static_assert(kNames.size() == std::variant_size_v<Input>);
    return kNames.at(input.index());
}

}  // namespace ftvmm::replay
