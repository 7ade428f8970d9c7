// pair_sim [--seeds A..B] [--bug NAME] [--expect-found]: runs a pair for each seed from A to before
// B. Without a bug, every violation is printed with its seed, and the exit code says whether there
// was one. With one, it is to be found: the first seed that does is printed.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "pair.h"
#include "plan.h"

namespace ftvmm::sim {
namespace {

struct Arguments {
    std::uint64_t first = 0;
    std::uint64_t end = 1000;
    Bug bug = Bug::kNone;
    std::string_view bug_name = "none";
};

constexpr std::uint64_t kProgressEvery = 64;

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<Arguments> parse(std::span<char*> words) {
    Arguments arguments;
    for (; words.size() >= 2; words = words.subspan(2)) {
        const std::string_view option = words[0];
        const std::string_view value = words[1];
        if (option == "--bug") {
            const auto bug = bug_named(value);
            if (!bug) return std::nullopt;
            arguments.bug = *bug;
            arguments.bug_name = value;
        } else if (option == "--seeds") {
            const auto dots = value.find("..");
            if (dots == std::string_view::npos) return std::nullopt;
            const auto first = number(value.substr(0, dots));
            const auto end = number(value.substr(dots + 2));
            if (!first || !end || *first >= *end) return std::nullopt;
            arguments.first = *first;
            arguments.end = *end;
        } else {
            return std::nullopt;
        }
    }
    if (!words.empty()) return std::nullopt;
    return arguments;
}

void usage() {
    fmt::print(stderr, "usage: pair_sim [--seeds A..B] [--bug NAME]\nbugs:");
    for (const NamedBug& each : kBugs)
        fmt::print(stderr, " {}", each.name);
    fmt::print(stderr, "\n");
}

class Campaign {
  public:
    explicit Campaign(const Arguments& arguments) : arguments_(arguments) {}

    int run() {
        const Instant start = clock_.now();
        for (std::uint64_t seed = arguments_.first; seed < arguments_.end; ++seed) {
            run_seed(seed);
            if (violations_ > 0 && arguments_.bug != Bug::kNone) break;
            if (seed % kProgressEvery == 0) show_progress(seed);
        }
        clear_progress();
        const std::chrono::duration<double> took = clock_.now() - start;
        fmt::print(
            "{} seeds in {:.1f} s: {} came to their end, {} were taken over, {} were handed over; "
            "the "
            "vCPU stalled in {}, {} outputs were released; {} violations\n",
            seeds_, took.count(), outcomes_[0], outcomes_[1], outcomes_[2], stalled_, released_,
            violations_);
        if (arguments_.bug == Bug::kNone) return violations_ == 0 ? 0 : 1;
        if (violations_ == 0) fmt::print("the bug {} was not found\n", arguments_.bug_name);
        return violations_ > 0 ? 0 : 1;
    }

  private:
    void run_seed(std::uint64_t seed) {
        const Plan plan = make_plan(seed, arguments_.bug);
        const Verdict verdict = run_pair(plan);
        ++seeds_;
        ++outcomes_.at(static_cast<std::size_t>(verdict.outcome));
        released_ += verdict.released;
        stalled_ += verdict.stalls > 0 ? 1 : 0;
        if (!verdict.violation) return;
        ++violations_;
        clear_progress();
        fmt::print("seed {}: {}\n{}again: pair_sim --seeds {}..{} --bug {}\n", seed,
                   *verdict.violation, describe(plan), seed, seed + 1, arguments_.bug_name);
    }

    void show_progress(std::uint64_t seed) const {
        if (!is_terminal_) return;
        fmt::print(stderr, "\rseed {} of {}", seed, arguments_.end);
    }
    void clear_progress() const {
        if (is_terminal_) fmt::print(stderr, "\r{:40}\r", "");
    }

    Arguments arguments_;
    SystemClock clock_;
    bool is_terminal_ = ::isatty(STDERR_FILENO) == 1;
    std::uint64_t seeds_ = 0;
    std::uint64_t violations_ = 0;
    std::uint64_t released_ = 0;
    std::uint64_t stalled_ = 0;
    std::array<std::uint64_t, kOutcomes> outcomes_{};
};

}  // namespace
}  // namespace ftvmm::sim

int main(int argc, char** argv) {
    try {
        const std::span words(argv, static_cast<std::size_t>(argc));
        const auto arguments = ftvmm::sim::parse(words.subspan(1));
        if (!arguments) {
            ftvmm::sim::usage();
            return 2;
        }
        return ftvmm::sim::Campaign(*arguments).run();
    } catch (const std::exception& error) {
        std::fputs(error.what(), stderr);
    }
    return 1;
}
