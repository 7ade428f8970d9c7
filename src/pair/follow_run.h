// A Secondary's guest: it does what the Primary's did, as the log of that comes in.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "node/replay_run.h"
#include "node/replay_watchdog.h"
#include "pair/batch_queue.h"
#include "pair/requests_in_flight.h"
#include "replay/replayer.h"

namespace ftvmm::pair {

namespace follow_end {

// The guest's last life ended, as the log says.
struct Ended {
    replay::record::End end;
};
// Nothing comes any more, and all that came was done: the guest stands where the Primary's last
// known record lies, and can go live.
struct LogEnded {};
struct Diverged {
    replay::Divergence divergence;
};

}  // namespace follow_end

struct FollowEnd {
    std::variant<follow_end::Ended, follow_end::LogEnded, follow_end::Diverged> how;
    // As it stands; none where the log ends between two lives.
    std::unique_ptr<replay::GuestMachine> machine;
    // What it asked for and was not given, as it must be asked for again.
    std::vector<replay::Output> in_flight;
    replay::Seq next;   // Behind the last record that was done.
    GuestTime time{};   // Of the last input::Time,
    Instant time_at{};  // and when that came.
};

struct FollowRun {
    // It stands where the log begins, in the middle of a life.
    std::unique_ptr<replay::GuestMachine> machine;
    replay::Seq first{};  // The number of the first record that comes.
    GuestTime time{};     // What the guest's clock shows there.
    // Makes the machines of later lives.
    node::MakeMachine make;
    // All records before `next` are done, and the guest's clock shows `time`, or soon will: now and
    // then, and whenever there is nothing more to do.
    std::function<void(replay::Seq next, GuestTime time)> replayed;
};

// Until the queue is closed or the guest's log ends. The calling thread is the vCPU's. An error:
// the log is none, or no machine can be made.
[[nodiscard]] Result<FollowEnd> follow(FollowRun run, BatchQueue& queue);

}  // namespace ftvmm::pair
