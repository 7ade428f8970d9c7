#include "cli/log.h"

#include <fmt/format.h>

#include <cstdio>
#include <functional>

#include "cli/log_report.h"
#include "replay/log_file.h"

namespace ftvmm::cli {

namespace {

constexpr int kRead = 0;
constexpr int kDamaged = 1;
constexpr int kUnreadable = 2;

// Gives each batch to `take`; how the log ended.
Result<LogReport> read_log(const std::string& path,
                           const std::function<void(const replay::Batch&)>& take) {
    FTVMM_ASSIGN(auto reader, replay::LogReader::open(path));
    LogSummarizer summarizer;
    while (true) {
        FTVMM_ASSIGN(const auto batch, reader.next());
        if (!batch) break;
        summarizer.add(*batch);
        take(*batch);
    }
    return LogReport{path, reader.header(), summarizer.summary(), reader.tail()};
}

// What is wrong goes to standard error, and the exit code says it.
int judge(const char* verb, const Result<LogReport>& report) {
    if (!report) {
        fmt::print(stderr, "ftvmm log {}: {}\n", verb, report.error().line());
        return kUnreadable;
    }
    if (!report->tail.is_damaged()) return kRead;
    fmt::print(stderr, "ftvmm log {}: {}", verb, render_verdict(*report));
    return kDamaged;
}

}  // namespace

int log_stat(const LogOptions& options) {
    const auto report = read_log(options.log, [](const replay::Batch&) {});
    if (report) fmt::print("{}", options.json ? render_json(*report) : render_text(*report));
    return judge("stat", report);
}

int log_show(const LogOptions& options) {
    const auto report = read_log(options.log, [&](const replay::Batch& batch) {
        replay::Seq seq = batch.first;
        for (const replay::Record& record : batch.records) {
            const std::uint64_t number = seq.value();
            if (number >= options.from && number - options.from < options.count) {
                fmt::print("{}",
                           options.json ? render_json(seq, record) : render_text(seq, record));
            }
            seq = seq + 1;
        }
    });
    return judge("show", report);
}

int log_verify(const LogOptions& options) {
    const auto report = read_log(options.log, [](const replay::Batch&) {});
    if (report && options.json) fmt::print("{}", render_verdict_json(*report));
    if (report && !options.json && !report->tail.is_damaged()) {
        fmt::print("{}", render_verdict(*report));
    }
    return judge("verify", report);
}

}  // namespace ftvmm::cli
