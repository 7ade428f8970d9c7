// What a log holds, as text and as JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "replay/log_file.h"
#include "replay/log_header.h"
#include "replay/log_statistics.h"
#include "replay/record.h"

namespace ftvmm::cli {

struct LogSummary {
    // From one power-on, or where the log begins, to the end of it.
    struct Life {
        std::uint64_t exits = 0;
        std::uint64_t checkpoints = 0;
        std::chrono::nanoseconds
            length{};  // In guest time, up to the last that the guest was told.
        std::optional<replay::record::EndKind> end;
    };

    replay::LogStatistics statistics;
    std::vector<Life> lives;
    // Landmarks at which the guest was given something, by what made them.
    std::uint64_t at_exits = 0;
    std::uint64_t at_checkpoints = 0;
};

// Takes in a log batch by batch, in order.
class LogSummarizer {
  public:
    void add(const replay::Batch& batch);
    [[nodiscard]] const LogSummary& summary() const { return summary_; }

  private:
    void add(const replay::Record& record);
    void begin_life(const replay::Record& record);
    void add_input(const replay::Record& record);

    LogSummary summary_;
    replay::Landmark begin_;                         // Of the life.
    std::optional<GuestTime> zero_;                  // Its first time.
    std::optional<replay::Landmark> input_at_;       // Where the last input lies.
    std::optional<replay::Landmark> checkpoint_at_;  // What the last checkpoint made.
};

// Where the log came from, and all that was read of it.
struct LogReport {
    std::string path;
    replay::LogHeader header;
    LogSummary summary;
    replay::LogTail tail;
};

// For people; without a line about the tail, if that is damaged.
[[nodiscard]] std::string render_text(const LogReport& report);
// For programs; the keys are part of ftvmm's interface (docs/log.md). Ends in a newline.
[[nodiscard]] std::string render_json(const LogReport& report);

// What `ftvmm log verify` says of a log; in JSON the keys of the above that it has.
[[nodiscard]] std::string render_verdict(const LogReport& report);
[[nodiscard]] std::string render_verdict_json(const LogReport& report);

// One record on a line, each way.
[[nodiscard]] std::string render_text(replay::Seq seq, const replay::Record& record);
[[nodiscard]] std::string render_json(replay::Seq seq, const replay::Record& record);

}  // namespace ftvmm::cli
