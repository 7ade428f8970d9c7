// A log on disk: docs/log-format.md. What a Recorder has closed goes in, batches come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "replay/log_format.h"
#include "replay/log_header.h"
#include "replay/record.h"

namespace ftvmm::replay {

// A new file, readable to its owner alone: it holds what went into the guest, keys and all. One
// thread. Errors name the file, the offset and what to do.
class LogWriter {
  public:
    // Never over a file that is there.
    static Result<LogWriter> create(const std::string& path, const LogHeader& header);

    // One batch or several, whole. After an error the file ends with the last that was appended
    // before, as far as the host lets it be cut; it may be tried again.
    [[nodiscard]] Result<void> append(std::span<const std::byte> batches);
    // What was appended outlives the host from here on. Until then it outlives this process alone.
    [[nodiscard]] Result<void> sync();

    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  private:
    LogWriter(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

    std::string path_;
    Fd fd_;
    std::uint64_t bytes_ = 0;  // What of the file is whole.
};

// How a log ends. All that comes before is whole, and was read.
struct LogTail {
    enum class Kind : std::uint8_t {
        kEnded,    // The VM's last life ended, and the log with it.
        kStopped,  // Between two batches: its writer was stopped there, or still writes.
        kTorn,     // In a batch: its writer was stopped there.
        kCorrupt,  // A batch is damaged; nothing is known of what follows it.
    };
    Kind kind{};
    std::uint64_t offset = 0;  // Behind the last whole batch.
    std::string why;           // Of kCorrupt: what is wrong with the batch.

    [[nodiscard]] bool is_damaged() const { return kind == Kind::kTorn || kind == Kind::kCorrupt; }
};

// "the log ends whole", "the log is torn at byte 812: its writer was stopped there".
[[nodiscard]] std::string describe(const LogTail& tail);

// Reads a log batch by batch, whatever the file holds. One thread.
class LogReader {
  public:
    // An error: it can not be read, or has no sound header.
    static Result<LogReader> open(const std::string& path);

    [[nodiscard]] const LogHeader& header() const { return header_; }
    // The next batch, or nothing at the log's end, which is tail() then. Called again there it
    // looks again, as for a log that is still being written. An error: the file can not be read.
    [[nodiscard]] Result<std::optional<Batch>> next();
    // Requires that next() gave nothing.
    [[nodiscard]] const LogTail& tail() const { return tail_; }
    // How much of the file was read.
    [[nodiscard]] std::uint64_t offset() const { return offset_; }

  private:
    LogReader(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

    // Up to `target`'s size; less at the end of the file.
    [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                              std::span<std::byte> target) const;
    [[nodiscard]] Result<void> read_header();
    std::nullopt_t end(LogTail::Kind kind, std::string why = {});

    std::string path_;
    Fd fd_;
    LogHeader header_;
    std::uint64_t offset_ = 0;  // Behind the last whole batch.
    std::optional<Seq> next_;   // Of the next batch, if there was one.
    Landmark at_;               // Of the last record.
    bool is_ended_ = false;     // The last record is the last end.
    std::vector<std::byte> payload_;
    LogTail tail_;
};

}  // namespace ftvmm::replay
