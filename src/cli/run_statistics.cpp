#include "cli/run_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

namespace ftvmm::cli {

namespace {

// In the order of kvm::Exit's alternatives.
constexpr std::array kExits{
    "IN",          "OUT",        "MMIO read",    "MMIO write",     "RDMSR",
    "WRMSR",       "HLT",        "window",       "shutdown",       "debug",
    "interrupted", "dirty ring", "failed entry", "internal error", "unexpected"};
static_assert(kExits.size() == std::variant_size_v<kvm::Exit>);
constexpr std::array kInputs{"time",     "wall clock", "console",     "packet",
                             "disk end", "entropy",    "power button"};
static_assert(kInputs.size() == std::variant_size_v<replay::Input>);
constexpr std::array kOutputs{"console", "packet", "offload", "disk request", "entropy request"};
static_assert(kOutputs.size() == std::variant_size_v<replay::Output>);

void add_line(std::string& text, const char* what, std::uint64_t total,
              std::span<const char* const> names, std::span<const std::uint64_t> counts) {
    text += fmt::format("{} {}", what, total);
    const char* separator = ": ";
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (counts[i] == 0) continue;
        text += fmt::format("{}{} {}", separator, names[i], counts[i]);
        separator = ", ";
    }
    text += '\n';
}

void add_lateness(std::string& text, const char* what, const Durations& lateness) {
    if (lateness.count() == 0) return;
    const auto ms = [](std::chrono::nanoseconds time) {
        return std::chrono::duration<double, std::milli>(time).count();
    };
    text +=
        fmt::format("late {} {}, ms: p50 {:.2f}, p99 {:.2f}, max {:.2f}\n", what, lateness.count(),
                    ms(lateness.percentile(50)), ms(lateness.percentile(99)), ms(lateness.most()));
}

std::uint64_t sum(std::span<const std::uint64_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

}  // namespace

std::string describe(const machine::ExitCounts& exits, const node::Statistics& statistics) {
    std::string text;
    add_lateness(text, "tick", statistics.tick_lateness);
    add_lateness(text, "packet", statistics.packet_lateness);
    add_lateness(text, "disk end", statistics.disk_lateness);
    add_line(text, "exits", exits.total(), kExits, exits.by_kind);
    add_line(text, "inputs", sum(statistics.inputs), kInputs, statistics.inputs);
    add_line(text, "outputs", sum(statistics.outputs), kOutputs, statistics.outputs);
    text +=
        fmt::format("waits {}, kicks {}, checkpoints {} ({:.3f} s), lost frames {}, power-ons {}\n",
                    statistics.waits, statistics.kicks, statistics.checkpoints,
                    std::chrono::duration<double>(statistics.checkpoint_time).count(),
                    statistics.lost_frames, statistics.power_ons);
    return text;
}

std::string describe(const pair::PrimaryStatus& status) {
    const auto ms = [](std::chrono::nanoseconds time) {
        return std::chrono::duration<double, std::milli>(time).count();
    };
    std::string text = fmt::format("protection: {}", name_of(status.protection));
    if (!status.secondary.empty()) text += fmt::format(", Secondary on {}", status.secondary);
    text += fmt::format("; {} clones, {} lost, {} diverged\n", status.clones, status.lost,
                        status.diverged);
    if (status.protection == pair::Protection::kClones) {
        text += fmt::format("clone: round {}, {} of {} pages\n", status.clone.round,
                            status.clone.round_done, status.clone.round_pages);
    }
    if (status.protection == pair::Protection::kProtected) {
        const auto held = status.holds.count();
        text += fmt::format(
            "link: lag {:.1f} ms, {} bytes of log, the guest gets {} % of the time; {} outputs "
            "held, "
            "{:.2f} ms on average, {:.1f} at most\n",
            ms(status.link.lag), status.link.log_bytes, status.link.duty_percent, held,
            held == 0 ? 0 : ms(status.holds.sum()) / static_cast<double>(held),
            ms(status.holds.most()));
    }
    return text;
}

std::string describe(const machine::CheckpointCosts& costs) {
    using machine::CheckpointCosts;
    static constexpr std::array kParts{"processor", "log", "whole", "hot", "shadows", "clear"};
    static_assert(kParts.size() == CheckpointCosts::kParts);
    const auto ms = [](std::chrono::nanoseconds time) {
        return std::chrono::duration<double, std::milli>(time).count();
    };
    const auto each = [](std::uint64_t total, std::uint64_t count) {
        return static_cast<double>(total) / static_cast<double>(std::max<std::uint64_t>(count, 1));
    };
    const auto count = static_cast<double>(std::max<std::uint64_t>(costs.checkpoints, 1));
    std::string text = fmt::format("checkpoints {}", costs.checkpoints);
    const char* separator = ", ms each: ";
    for (std::size_t i = 0; i < kParts.size(); ++i) {
        text += fmt::format("{}{} {:.2f}", separator, kParts.at(i),
                            ms(costs.checkpoint_time.at(i)) / count);
        separator = ", ";
    }
    const auto per = [&](std::uint64_t total) { return each(total, costs.checkpoints); };
    text += fmt::format(
        "\ncheckpoint pages each: whole {:.0f}, of them now hot {:.0f}; compared {:.0f}, changed "
        "{:.0f} in {:.0f} lines; cleared {:.0f}\n",
        per(costs.whole_pages), per(costs.heated_pages), per(costs.hot_pages),
        per(costs.changed_pages), per(costs.changed_lines), per(costs.cleared_pages));
    text += fmt::format("settles {} of {} looks ({:.3f} s), pages each {:.0f}\n", costs.settles,
                        costs.looks, ms(costs.settle_time) / 1e3,
                        each(costs.settled_pages, costs.settles));
    return text;
}

}  // namespace ftvmm::cli
