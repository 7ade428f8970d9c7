// A whole file in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace ftvmm::host {

// The bytes of the regular file `path`; more than `max_bytes` are refused.
Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t max_bytes);

}  // namespace ftvmm::host
