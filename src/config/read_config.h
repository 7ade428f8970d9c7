// From the text of vm.toml to a VmConfig, or to all that is wrong with it.
#pragma once

#include <string>
#include <string_view>

#include "config/problem.h"
#include "config/vm_config.h"

namespace ftvmm::config {

// Larger files are refused: no VM needs as much, and a mistaken path may name a disk.
inline constexpr std::size_t kMaxConfigBytes = std::size_t{256} * 1024;

// `file` is the path that problems name; relative paths in `text` start at its folder. The file is
// judged as a whole: after a syntax error that one alone is told, else every problem there is.
[[nodiscard]] Checked<VmConfig> parse_config(std::string_view text, const std::string& file);

// The same with the text that is in `file`. A file that cannot be read is the only problem then.
[[nodiscard]] Checked<VmConfig> load_config(const std::string& file);

}  // namespace ftvmm::config
