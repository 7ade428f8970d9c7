// The vCPU thread's side of a log: what happens to the guest is written down before it happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/clock.h"
#include "base/result.h"
#include "node/batch_sink.h"
#include "node/landmark_grace.h"
#include "node/settle_pace.h"
#include "replay/guest_machine.h"
#include "replay/recorder.h"

namespace ftvmm::node {

// Somebody who follows a recording as it is made.
struct Follower {
    // How far behind the guest that may be which nobody waits for. What an output waits for goes at
    // once.
    std::chrono::milliseconds flush_every{5};
    // Where the recording begins, in the middle of a life: the number of its first record, and how
    // many outputs came before.
    replay::Seq first{};
    std::uint64_t outputs = 0;
};

// As replay::Recorder, with a log's file or a follower behind it. The vCPU thread's own.
class Recording {
  public:
    // Now and then, at a landmark, whatever makes the next checkpoint small is done.
    using Settle = std::function<Result<void>(replay::GuestMachine&)>;

    // For a file. `sink` outlives it.
    explicit Recording(BatchSink& sink, Settle settle = {})
        : sink_(sink), settle_(std::move(settle)) {}
    // For a follower that stands where the guest stands.
    Recording(BatchSink& sink, Settle settle, const Follower& follower)
        : sink_(sink),
          settle_(std::move(settle)),
          is_followed_(true),
          flush_every_(follower.flush_every),
          recorder_(follower.first, follower.outputs) {}

    // Where a guest ends by itself, a hash of all its memory goes to the log, for replays to hold
    // theirs against. It takes as long as that.
    void audit_ends() { audits_ends_ = true; }

    // Each exit goes to the log with its registers, for a replay that diverges to name the first
    // that differs.
    void trace_exits() { traces_exits_ = true; }

    void power_on(const replay::GuestMachine& machine, std::span<const std::byte> rng_seed);
    // A run has led the guest to a landmark, or it waits at the one where it stood.
    void stopped(const replay::GuestMachine& machine);
    void input(const replay::GuestMachine& machine, const replay::Input& input);
    // The number of the mark that the output needs to be safe before it may leave; a follower gets
    // it at once where somebody waits for the output.
    replay::Seq output(const replay::GuestMachine& machine, bool is_awaited = false);
    // Makes a landmark where the guest stands.
    [[nodiscard]] Result<void> checkpoint(replay::GuestMachine& machine);
    void end(const replay::GuestMachine& machine, replay::record::EndKind kind);

    // The guest stands at a landmark, it is `now`, and it runs on or waits: what was recorded long
    // enough ago, or is waited for, goes to the log.
    [[nodiscard]] Result<void> at_landmark(replay::GuestMachine& machine, Instant now, bool waits);

    // All that was recorded goes to the log.
    void flush(const replay::GuestMachine& machine);

    // The number that the next record will have.
    [[nodiscard]] replay::Seq next() const { return recorder_.next(); }
    [[nodiscard]] const LandmarkGrace& grace() const { return grace_; }
    [[nodiscard]] const replay::LogStatistics& statistics() const { return recorder_.statistics(); }

  private:
    // What a kill of this process loses.
    static constexpr std::chrono::milliseconds kFlushEvery{250};

    void hand_on() { sink_.append(recorder_.take_batches()); }

    BatchSink& sink_;
    Settle settle_;
    bool is_followed_ = false;
    bool has_waiting_output_ = false;  // Its mark is in no batch that was handed on.
    std::chrono::milliseconds flush_every_ = kFlushEvery;
    bool audits_ends_ = false;
    bool traces_exits_ = false;
    std::uint64_t traced_exits_ = 0;  // In this life.
    replay::Recorder recorder_;
    LandmarkGrace grace_;
    SystemClock clock_;
    Instant flushed_at_{};
    SettlePace settle_pace_;
};

}  // namespace ftvmm::node
