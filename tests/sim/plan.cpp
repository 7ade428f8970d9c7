#include "plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/random.h"

namespace ftvmm::sim {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::uint64_t kFaultsWithinNs = 250'000'000;

const char* name_of(FaultKind kind) {
    switch (kind) {
        case FaultKind::kPausePrimary:
            return "the Primary pauses";
        case FaultKind::kPauseSecondary:
            return "the Secondary pauses";
        case FaultKind::kHoldAnswer:
            return "an answer is held";
        case FaultKind::kStallLog:
            return "the way to the Secondary stalls";
        case FaultKind::kStallAcks:
            return "the way to the Primary stalls";
        case FaultKind::kSlowSecondary:
            return "the Secondary is slow";
        case FaultKind::kReset:
            return "the connection is reset";
        case FaultKind::kTruncateLog:
            return "the connection is cut off on the way to the Secondary";
        case FaultKind::kTruncateAcks:
            return "the connection is cut off on the way to the Primary";
        case FaultKind::kHandOver:
            return "the Primary hands over";
    }
    return "unknown";
}

// Short ones are as frequent as long ones.
BootClock::duration some_time(SeededEntropy& random) {
    const std::uint64_t most = std::uint64_t{100'000} << random.below(12);
    return nanoseconds(1 + random.below(most));
}

Fault make_fault(SeededEntropy& random) {
    constexpr std::uint64_t kPassing = 6;
    constexpr std::uint64_t kAll = 10;
    Fault fault;
    fault.at = Instant(nanoseconds(random.below(kFaultsWithinNs)));
    // Half of all pass: what ends a connection ends what there is to see.
    const bool passes = random.below(6) != 0;
    fault.kind = static_cast<FaultKind>(passes ? random.below(kPassing)
                                               : kPassing + random.below(kAll - kPassing));
    fault.lasts = some_time(random);
    fault.primary_learns = some_time(random);
    fault.secondary_learns = some_time(random);
    return fault;
}

void add_fault(std::vector<Fault>& faults, SeededEntropy& random) {
    const Fault fault = make_fault(random);
    faults.push_back(fault);
    // A connection often ends because its host stands still: then acks wait in the socket that are
    // to be worth nothing later.
    if (fault.kind < FaultKind::kReset || random.below(2) == 0) return;
    Fault pause = make_fault(random);
    pause.kind = FaultKind::kPausePrimary;
    pause.at = fault.at - std::min(fault.at.time_since_epoch(),
                                   BootClock::duration(nanoseconds(random.below(2'000'000))));
    faults.push_back(pause);
}

PipeOptions make_pipe(SeededEntropy& random, bool is_quiet) {
    PipeOptions pipe;
    pipe.delay = nanoseconds(20'000 + random.below(1'000'000));
    if (random.below(2) == 0) pipe.jitter = nanoseconds(1 + random.below(500'000));
    if (is_quiet) return pipe;
    if (random.below(3) == 0) pipe.capacity = 64 + random.below(2000);
    if (random.below(2) == 0) pipe.most_slice = 1 + random.below(200);
    return pipe;
}

ftlink::LinkLimits make_limits(SeededEntropy& random, bool is_quiet) {
    ftlink::LinkLimits limits;
    limits.probe_every = milliseconds(5);
    limits.replay_ack_every = microseconds(500);
    if (is_quiet) return limits;
    if (random.below(2) == 0) limits.unreplayed_bytes = 200 + random.below(4000);
    if (random.below(2) == 0) limits.unreplayed_records = 5 + random.below(200);
    if (random.below(2) == 0) limits.queued_bytes = 1 + random.below(2000);
    return limits;
}

HostClock make_clock(SeededEntropy& random) {
    // 5 % either way: of two clocks one is at most 11 % faster, and the margin is a quarter.
    return {static_cast<std::int64_t>(random.below(100'000)) - 50'000,
            nanoseconds(random.below(1'000'000'000'000))};
}

}  // namespace

std::optional<Bug> bug_named(std::string_view name) {
    for (const NamedBug& each : kBugs)
        if (each.name == name) return each.bug;
    return std::nullopt;
}

Plan make_plan(std::uint64_t seed, Bug bug) {
    SeededEntropy random(seed);
    Plan plan;
    plan.seed = random.next_u64();
    plan.bug = bug;
    plan.is_quiet = random.below(8) == 0;
    plan.most_exits = 100 + random.below(300);
    plan.toy.mean_life = random.below(2) == 0 ? 100 : 2000;
    plan.toy.shows_time = random.below(4) == 0;
    plan.primary_limits = make_limits(random, plan.is_quiet);
    plan.secondary_limits = plan.primary_limits;
    // So that it is the Secondary that is full, now and then.
    if (random.below(3) == 0) plan.secondary_limits = make_limits(random, plan.is_quiet);
    if (!plan.is_quiet && random.below(2) == 0) plan.gate_limits.outputs = 1 + random.below(20);
    if (!plan.is_quiet && random.below(4) == 0) plan.gate_limits.bytes = 200 + random.below(2000);
    plan.leases.peer = bug == Bug::kNoMargin ? plan.dead_timeout : milliseconds(30);
    plan.log_pipe = make_pipe(random, plan.is_quiet);
    plan.ack_pipe = make_pipe(random, plan.is_quiet);
    plan.primary_clock = make_clock(random);
    plan.secondary_clock = make_clock(random);
    plan.exit_takes = microseconds(20 + random.below(1000));
    plan.replay_takes =
        plan.is_quiet ? microseconds(10) : plan.exit_takes * (10 + random.below(120)) / 100;
    plan.is_hasty = !plan.is_quiet && random.below(4) == 0;
    if (!plan.is_quiet) {
        const std::uint64_t faults = 1 + random.below(8);
        for (std::uint64_t i = 0; i < faults; ++i)
            add_fault(plan.faults, random);
        std::ranges::sort(plan.faults, {}, &Fault::at);
    }
    for (const Fault& fault : plan.faults)
        plan.healed_at = std::max(plan.healed_at, fault.at + fault.lasts);
    return plan;
}

std::string describe(const Plan& plan) {
    const auto us = [](BootClock::duration time) {
        return std::chrono::duration_cast<microseconds>(time).count();
    };
    std::string text = fmt::format(
        "delay {}+{} us there, {}+{} us back; an exit takes {} us, {} us replayed; {}{}{} exits\n",
        us(plan.log_pipe.delay), us(plan.log_pipe.jitter), us(plan.ack_pipe.delay),
        us(plan.ack_pipe.jitter), us(plan.exit_takes), us(plan.replay_takes),
        plan.is_quiet ? "quiet, " : "", plan.is_hasty ? "hasty, " : "", plan.most_exits);
    for (const Fault& fault : plan.faults) {
        fmt::format_to(std::back_inserter(text), "at {} us for {} us: {}\n",
                       us(fault.at.time_since_epoch()), us(fault.lasts), name_of(fault.kind));
    }
    return text;
}

}  // namespace ftvmm::sim
