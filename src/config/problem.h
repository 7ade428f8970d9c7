// What is wrong with a configuration, and where.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace ftvmm::config {

struct Problem {
    std::string file;
    std::uint32_t line = 0;  // From 1; 0 where it is about the file as a whole.
    std::uint32_t column = 0;
    std::string what;
    std::string advice;  // What to do about it, or empty.

    // "vm.toml:3:8: what; advice", one line.
    [[nodiscard]] std::string text() const;
};

// At least one, in the order of the file.
using Problems = std::vector<Problem>;

template <class T>
using Checked = tl::expected<T, Problems>;

}  // namespace ftvmm::config
