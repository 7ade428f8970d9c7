#include "cli/replay.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/overloaded.h"
#include "cli/divergence_report.h"
#include "cli/memory_file.h"
#include "cli/replay_debug.h"
#include "config/read_config.h"
#include "node/host_parts.h"
#include "node/log_identity.h"
#include "node/replay_run.h"
#include "vmm/kvm/system.h"

namespace ftvmm::cli {

namespace {

void say(const std::string& line) {
    node::log_to_stderr(line);
}

double seconds_of(GuestTime time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
}

// "812" is a record's number, "12.5s" a guest time.
Result<void> read_until(std::string_view text, node::ReplayRun& run) {
    const bool is_time = text.ends_with('s');
    if (is_time) text.remove_suffix(1);
    const char* const end = text.data() + text.size();
    double seconds = 0;
    std::uint64_t seq = 0;
    const auto read = is_time ? std::from_chars(text.data(), end, seconds)
                              : std::from_chars(text.data(), end, seq);
    constexpr double kMostSeconds = 1e9;
    if (read.ec != std::errc() || read.ptr != end || seconds < 0 || seconds > kMostSeconds) {
        return fail(fmt::format("--until {} is neither a record's number nor a time", text),
                    "write 812, or 12.5s");
    }
    if (is_time) {
        run.until_time = GuestTime(std::chrono::duration_cast<GuestTime::duration>(
            std::chrono::duration<double>(seconds)));
    } else {
        run.until_seq = replay::Seq(seq);
    }
    return {};
}

// A line that is written over, where a person looks on.
class ProgressLine {
  public:
    explicit ProgressLine(std::uint64_t bytes) : bytes_(bytes) {}
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine() {
        if (shown_) fmt::print(stderr, "\r\033[K");
    }

    void show(const node::ReplayProgress& progress) {
        constexpr std::size_t kWidth = 30;
        const double part =
            bytes_ == 0 ? 1 : static_cast<double>(progress.bytes) / static_cast<double>(bytes_);
        const auto filled = static_cast<std::size_t>(part * kWidth);
        fmt::print(stderr, "\r\033[K[{}{}] {:3.0f} %  guest time {:.1f} s, exit {}",
                   std::string(filled, '#'), std::string(kWidth - std::min(filled, kWidth), '.'),
                   part * 100, seconds_of(progress.time), progress.landmark.exits);
        shown_ = true;
    }

  private:
    std::uint64_t bytes_;
    bool shown_ = false;
};

// What is told is told, whatever of it can not be had: the guest has diverged.
void report_divergence(const replay::Divergence& divergence, const ReplayOptions& options,
                       const replay::GuestMachine* machine) {
    auto excerpt = read_excerpt(options.log, divergence);
    if (!excerpt) say(excerpt.error().with_context("the report lacks the log").line());
    const auto text =
        "DIVERGED: " +
        render_report(divergence, excerpt ? *std::move(excerpt) : LogExcerpt(), machine);
    fmt::print(stderr, "ftvmm: {}\n", text);
    if (options.report.empty()) return;
    if (const auto written = write_report(options.report, text); !written) {
        say(written.error().with_context("the report could not be written").line());
    }
}

int report(const node::ReplayEnd& end, const ReplayOptions& options) {
    const std::string how_far =
        fmt::format("{} records, {} exits, {} checkpoints, {:.3f} s of the guest's time",
                    end.records, end.progress.landmark.exits, end.progress.landmark.checkpoints,
                    seconds_of(end.progress.time));
    return std::visit(
        Overloaded{
            [&](const node::replay_end::Ended& ended) {
                say(fmt::format(
                    "the replay agrees with the log to its end ({}): {}, digest {:016x}",
                    replay::name_of(ended.end.kind), how_far, ended.end.digest));
                return kReplayAgreed;
            },
            [&](const node::replay_end::LogEnded& ended) {
                say(fmt::format("the replay agrees with all that the log holds: {}; {}", how_far,
                                replay::describe(ended.tail)));
                return ended.tail.kind == replay::LogTail::Kind::kCorrupt ? kReplayFailed
                                                                          : kReplayCut;
            },
            [&](const node::replay_end::Reached&) {
                say(fmt::format("the replay agrees with the log so far: {}", how_far));
                return kReplayAgreed;
            },
            [&](const node::replay_end::Diverged& diverged) {
                report_divergence(diverged.divergence, options, end.machine.get());
                say("so far: " + how_far);
                return kReplayDiverged;
            },
        },
        end.how);
}

int report_debugged(const std::optional<node::ReplayCursor::How>& how) {
    say("the debugger has left");
    const auto* diverged = how ? std::get_if<node::replay_end::Diverged>(&*how) : nullptr;
    if (diverged == nullptr) return kReplayAgreed;
    say("DIVERGED: " + replay::describe(diverged->divergence));
    return kReplayDiverged;
}

// No disk is opened: what was read from them is in the log.
std::vector<node::DiskFacts> disks_of(const replay::LogHeader& header) {
    std::vector<node::DiskFacts> disks;
    for (const auto& disk : header.disks)
        disks.push_back({disk.bytes, disk.read_only});
    return disks;
}

Result<config::VmConfig> load(const std::string& file) {
    auto config = config::load_config(file);
    if (config) return std::move(*config);
    std::string text;
    for (const auto& problem : config.error())
        text += (text.empty() ? "" : "; ") + problem.text();
    return fail(text, "--config names the vm.toml that was recorded with");
}

bool is_chosen(replay::ConsolePort port, std::string_view name) {
    return name.empty() || name == (port == replay::ConsolePort::kSerial ? "serial" : "virtio");
}

// How a replay ends that has agreed to its end, by its memory.
Result<int> compare_memory(const node::ReplayEnd& end, const std::string& file) {
    const auto* machine = dynamic_cast<const machine::KvmMachine*>(end.machine.get());
    if (machine == nullptr || !std::holds_alternative<node::replay_end::Ended>(end.how)) {
        return fail("the memory is compared at the end of a log alone");
    }
    FTVMM_ASSIGN(const auto found, compare_memory_file(file, machine->memory().bytes()));
    const bool has_diverged = found.other != 0;
    say((has_diverged ? "DIVERGED in memory: " : "") + machine::describe(found));
    return has_diverged ? kReplayDiverged : kReplayAgreed;
}

Result<int> replay_checked(const ReplayOptions& options) {
    FTVMM_ASSIGN(auto log, replay::LogReader::open(options.log));
    const replay::LogHeader& header = log.header();
    const std::string file = options.config.empty() ? header.config_file : options.config;
    FTVMM_ASSIGN(const auto config, load(file));
    FTVMM_ASSIGN(const auto system, kvm::System::open(options.device));
    FTVMM_ASSIGN(const auto files, node::read_boot_files(config));
    if (config.disks.size() != header.disks.size()) {
        return fail(fmt::format("the log is of a VM with {} disks, and {} has {}",
                                header.disks.size(), file, config.disks.size()),
                    "--config names the vm.toml that was recorded with");
    }
    const auto machine = node::machine_config(config, disks_of(header));
    FTVMM_ASSIGN(const auto here,
                 node::log_header_of(system, config, machine, files, file, options.build));
    if (auto differs = replay::mismatch(header, here)) return Failure(std::move(*differs));

    node::ReplayRun run;
    run.compare_audits = options.compare_audits;
    if (options.until) FTVMM_TRY(read_until(*options.until, run));
    if (options.console) {
        run.output = [&options](const replay::Output& output) {
            const auto* print = std::get_if<replay::output::ConsoleBytes>(&output);
            if (print == nullptr || !is_chosen(print->port, options.console_port)) return;
            (void)std::fwrite(print->bytes.data(), 1, print->bytes.size(), stdout);
            (void)std::fflush(stdout);
        };
    }
    const auto make_machine =
        [&](std::span<const std::byte> seed) -> Result<std::unique_ptr<machine::KvmMachine>> {
        if (seed.size() != boot::kRngSeedBytes) return fail("the log's seed is none of a guest's");
        FTVMM_ASSIGN(auto made, node::power_on(system, config, machine, files, seed));
        made->interrupt_at_landmarks_only();
        if (!options.memory.empty()) FTVMM_TRY(made->mark_tsc(machine::kReplayedTscMark));
        return made;
    };
    if (options.debug_port) {
        const auto open = [&] { return replay::LogReader::open(options.log); };
        FTVMM_ASSIGN(const auto how,
                     debug_replay(*options.debug_port, {open, make_machine, run, {}}));
        return report_debugged(how);
    }
    std::error_code unknown;
    const auto bytes = std::filesystem::file_size(options.log, unknown);
    ProgressLine line(unknown ? 0 : bytes);
    if (::isatty(STDERR_FILENO) == 1) {
        run.progress = [&line](const node::ReplayProgress& progress) { line.show(progress); };
    }
    const node::MakeMachine make = make_machine;
    const Instant start = SystemClock().now();
    FTVMM_ASSIGN(const auto end, node::run_replay(log, make, run));
    int code = report(end, options);
    say(fmt::format("it took {:.1f} s",
                    std::chrono::duration<double>(SystemClock().now() - start).count()));
    if (options.hash_memory && end.machine) {
        say(fmt::format("memory hash {:016x}", end.machine->memory_hash()));
    }
    if (!options.memory.empty() && code == kReplayAgreed) {
        FTVMM_ASSIGN(code, compare_memory(end, options.memory));
    }
    return code;
}

}  // namespace

int replay_log(const ReplayOptions& options) {
    const auto code = replay_checked(options);
    if (code) return *code;
    say(code.error().line());
    return kReplayFailed;
}

}  // namespace ftvmm::cli
