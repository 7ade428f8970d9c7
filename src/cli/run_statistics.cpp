#include "cli/run_statistics.h"

#include <fmt/format.h>

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

std::uint64_t sum(std::span<const std::uint64_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

}  // namespace

std::string describe(const machine::ExitCounts& exits, const node::Statistics& statistics) {
    std::string text;
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

}  // namespace ftvmm::cli
