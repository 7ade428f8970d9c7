// `ftvmm config check`: all that is wrong with a vm.toml.
#pragma once

#include <string>

namespace ftvmm::cli {

struct ConfigCheckOptions {
    std::string file;
};

// Returns 0 and says so if the file is fine; else 1, with one line per problem on standard error.
int config_check(const ConfigCheckOptions& options);

}  // namespace ftvmm::cli
