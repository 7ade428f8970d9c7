// Lines about peers that were refused, as many as a disk can bear.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"

namespace ftvmm::ftlink {

// Takes one line without its newline.
using LogLine = std::function<void(const std::string&)>;

// Whoever reaches the port can have a line written: kBurst at once and then kPerSecond. What is
// held back is counted, and told with the next line that passes. One thread.
class RefusalLog {
  public:
    static constexpr std::uint64_t kBurst = 100;
    static constexpr std::uint64_t kPerSecond = 5;

    explicit RefusalLog(LogLine log) : log_(std::move(log)) {}

    void refused(const std::string& address, const std::string& why, Instant now);
    // Of all, the lines that were held back included.
    [[nodiscard]] std::uint64_t refusals() const { return refusals_; }

  private:
    LogLine log_;
    std::uint64_t lines_ = kBurst;  // That may be written.
    Instant counted_at_{};
    std::uint64_t held_back_ = 0;
    std::uint64_t refusals_ = 0;
};

}  // namespace ftvmm::ftlink
