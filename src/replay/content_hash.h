// A hash by which two files are taken for the same.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace ftvmm::replay {

// XXH3's 128 bits as hexadecimal digits: against mistakes, not against people.
[[nodiscard]] std::string content_hash(std::span<const std::byte> bytes);

}  // namespace ftvmm::replay
