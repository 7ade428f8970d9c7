#include "config/problem.h"

#include <fmt/format.h>

namespace ftvmm::config {

std::string Problem::text() const {
    const std::string where = line == 0 ? file : fmt::format("{}:{}:{}", file, line, column);
    const std::string message = fmt::format("{}: {}", where, what);
    return advice.empty() ? message : fmt::format("{}; {}", message, advice);
}

}  // namespace ftvmm::config
