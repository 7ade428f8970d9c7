// A log carried out again, from its beginning: without disks, network or clock.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <variant>

#include "base/clock.h"
#include "base/result.h"
#include "replay/divergence.h"
#include "replay/guest_machine.h"
#include "replay/log_file.h"
#include "replay/record.h"

namespace ftvmm::node {

// How far it has come.
struct ReplayProgress {
    std::uint64_t bytes = 0;  // Of the log.
    replay::Landmark landmark;
    GuestTime time{};  // Of the last input::Time.
};

struct ReplayRun {
    // Goes no further than this record, or this guest time of the first life, if either is given.
    std::optional<replay::Seq> until_seq;
    std::optional<GuestTime> until_time;
    // Whether hashes of the guest's memory that the log holds have to be met.
    bool compare_audits = true;
    // What the guest put out, as it comes; may be empty.
    std::function<void(const replay::Output&)> output;
    // Ten times a second; may be empty.
    std::function<void(const ReplayProgress&)> progress;
};

namespace replay_end {

// The last life ended, as the log says.
struct Ended {
    replay::record::End end;
};
// All that the log holds was done, but no life's end is in it.
struct LogEnded {
    replay::LogTail tail;
};
struct Reached {};  // What ReplayRun said.
struct Diverged {
    replay::Divergence divergence;
};

}  // namespace replay_end

struct ReplayEnd {
    std::variant<replay_end::Ended, replay_end::LogEnded, replay_end::Reached, replay_end::Diverged>
        how;
    ReplayProgress progress;
    std::uint64_t records = 0;
    // As it stands at the end; none where no life had begun.
    std::unique_ptr<replay::GuestMachine> machine;
};

// The machine of a life that begins with `rng_seed`.
using MakeMachine =
    std::function<Result<std::unique_ptr<replay::GuestMachine>>(std::span<const std::byte>)>;

// The calling thread is the vCPU's. An error: the log can not be read or followed, or no machine
// can be made.
[[nodiscard]] Result<ReplayEnd> run_replay(replay::LogReader& log, const MakeMachine& make,
                                           const ReplayRun& options);

}  // namespace ftvmm::node
