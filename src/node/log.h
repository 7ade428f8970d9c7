// What the node has to say to people.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"

namespace ftvmm::node {

// Takes one line without its newline. Called on any of the node's threads.
using Log = std::function<void(const std::string&)>;

// Writes to standard error, each line whole.
void log_to_stderr(const std::string& line);

// Lets one line through, then counts for kQuiet: what fails a thousand times a second is said once.
// One thread.
class RateLimit {
  public:
    static constexpr std::chrono::seconds kQuiet{10};

    // How many were held back since the last that passed, or nothing: this one is held back.
    [[nodiscard]] std::optional<std::uint64_t> pass(Instant now);

  private:
    std::optional<Instant> last_;
    std::uint64_t held_back_ = 0;
};

}  // namespace ftvmm::node
