// What a seed stands for: a pair of hosts, their link, their guest, and what goes wrong.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "ftlink/flow_control.h"
#include "ftlink/output_gate.h"
#include "pipe.h"
#include "toy_machine.h"

namespace ftvmm::sim {

// What is wrong with the pair on purpose: the campaign has to find each.
enum class Bug : std::uint8_t {
    kNone,
    kMarkOfInput,       // An output waits for the last input before it, not for a mark of its own.
    kEarlyAck,          // A batch is acked when its header has come.
    kNoLease,           // The gate takes any ack, however old what it answers.
    kLeaseFromArrival,  // The lease counts from when the answer came.
    kDropWhenFull,      // The Secondary drops a batch that it has no room for.
    kNoFlush,           // An output that waits makes nobody send.
    kLiveOnReset,       // The Secondary goes live as soon as the connection is gone.
    kNoMargin,          // The lease is as long as the promise, and clocks differ.
};

struct NamedBug {
    Bug bug;
    const char* name;
};
inline constexpr std::array<NamedBug, 9> kBugs{{
    {Bug::kNone, "none"},
    {Bug::kMarkOfInput, "mark-of-input"},
    {Bug::kEarlyAck, "early-ack"},
    {Bug::kNoLease, "no-lease"},
    {Bug::kLeaseFromArrival, "lease-from-arrival"},
    {Bug::kDropWhenFull, "drop-when-full"},
    {Bug::kNoFlush, "no-flush"},
    {Bug::kLiveOnReset, "live-on-reset"},
    {Bug::kNoMargin, "no-margin"},
}};
[[nodiscard]] std::optional<Bug> bug_named(std::string_view name);

enum class FaultKind : std::uint8_t {
    kPausePrimary,  // A host stands still, its clock does not.
    kPauseSecondary,
    kHoldAnswer,     // The Secondary stands still between making an answer and sending it.
    kStallLog,       // Nothing arrives, to the Secondary
    kStallAcks,      // or to the Primary.
    kSlowSecondary,  // It replays a tenth as fast.
    kReset,          // The connection is gone; each side learns it in its own time.
    kTruncateLog,    // As kReset, but the Secondary still gets some of what was under way,
    kTruncateAcks,   // or the Primary.
    kHandOver,       // The Primary says goodbye: no fault, but an end.
};

struct Fault {
    Instant at;
    FaultKind kind{};
    BootClock::duration lasts{};
    // When each side learns of a connection that is gone.
    BootClock::duration primary_learns{};
    BootClock::duration secondary_learns{};
};

// A host's clock against true time.
struct HostClock {
    std::int64_t ppm = 0;
    BootClock::duration offset{};

    [[nodiscard]] Instant at(Instant truth) const {
        const std::int64_t ns = truth.time_since_epoch().count();
        return truth + offset + std::chrono::nanoseconds(ns * ppm / 1'000'000);
    }
    // How long it takes in truth until the clock shows `shown` more, rounded down.
    [[nodiscard]] BootClock::duration true_time(BootClock::duration shown) const {
        return std::chrono::nanoseconds(shown.count() * 1'000'000 / (1'000'000 + ppm));
    }
};

// All timeouts are a tenth of what they are in a real pair: only their relation matters, and a seed
// is done the sooner.
struct Plan {
    std::uint64_t seed = 0;
    Bug bug = Bug::kNone;
    bool is_quiet = false;  // Nothing goes wrong, and nothing is scarce.
    std::uint64_t most_exits = 300;
    replay::testing::ToyOptions toy;
    ftlink::LinkLimits primary_limits;
    ftlink::LinkLimits secondary_limits;
    ftlink::GateLimits gate_limits;
    ftlink::ReleaseLeases leases;
    BootClock::duration dead_timeout = std::chrono::milliseconds(40);
    PipeOptions log_pipe;
    PipeOptions ack_pipe;
    HostClock primary_clock;
    HostClock secondary_clock;
    BootClock::duration exit_takes{};    // On the Primary, on average,
    BootClock::duration replay_takes{};  // and on the Secondary.
    bool is_hasty = false;               // The Secondary goes live as soon as it may.
    std::vector<Fault> faults;           // In the order in which they happen.
    Instant healed_at{};                 // Nothing goes wrong from here on.
};

[[nodiscard]] Plan make_plan(std::uint64_t seed, Bug bug);
// For people, a line each.
[[nodiscard]] std::string describe(const Plan& plan);

}  // namespace ftvmm::sim
