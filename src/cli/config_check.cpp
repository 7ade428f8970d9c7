#include "cli/config_check.h"

#include <fmt/format.h>

#include <cstdio>

#include "config/read_config.h"

namespace ftvmm::cli {

int config_check(const ConfigCheckOptions& options) {
    const auto config = config::load_config(options.file);
    if (config) {
        fmt::print("{} is fine\n", options.file);
        return 0;
    }
    for (const config::Problem& problem : config.error())
        fmt::print(stderr, "{}\n", problem.text());
    return 1;
}

}  // namespace ftvmm::cli
