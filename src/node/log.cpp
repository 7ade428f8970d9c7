#include "node/log.h"

#include <unistd.h>

#include <utility>

namespace ftvmm::node {

void log_to_stderr(const std::string& line) {
    const std::string whole = "ftvmm: " + line + "\n";
    // Who closed standard error does not want to know.
    (void)!::write(STDERR_FILENO, whole.data(), whole.size());
}

std::optional<std::uint64_t> RateLimit::pass(Instant now) {
    if (last_ && now - *last_ < kQuiet) {
        ++held_back_;
        return std::nullopt;
    }
    last_ = now;
    return std::exchange(held_back_, 0);
}

}  // namespace ftvmm::node
