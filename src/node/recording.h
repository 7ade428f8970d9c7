// The vCPU thread's side of a log: what happens to the guest is written down before it happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/clock.h"
#include "base/result.h"
#include "node/landmark_grace.h"
#include "node/log_thread.h"
#include "replay/guest_machine.h"
#include "replay/recorder.h"

namespace ftvmm::node {

// As replay::Recorder, with the log's file behind it. The vCPU thread's own.
class Recording {
  public:
    // Now and then, at a landmark, whatever makes the next checkpoint small is done.
    using Settle = std::function<Result<void>(replay::GuestMachine&)>;

    // `log` outlives it.
    explicit Recording(LogThread& log, Settle settle = {})
        : log_(log), settle_(std::move(settle)) {}

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
    void output(const replay::GuestMachine& machine);
    // Makes a landmark where the guest stands.
    [[nodiscard]] Result<void> checkpoint(replay::GuestMachine& machine);
    void end(const replay::GuestMachine& machine, replay::record::EndKind kind);

    // The guest stands at a landmark, and it is `now`: what was recorded long enough ago goes to
    // the log.
    [[nodiscard]] Result<void> at_landmark(replay::GuestMachine& machine, Instant now);

    [[nodiscard]] const LandmarkGrace& grace() const { return grace_; }
    [[nodiscard]] const replay::LogStatistics& statistics() const { return recorder_.statistics(); }

  private:
    // What a kill of this process loses.
    static constexpr std::chrono::milliseconds kFlushEvery{250};
    static constexpr std::chrono::milliseconds kSettleEvery{20};

    void hand_on() { log_.append(recorder_.take_batches()); }

    LogThread& log_;
    Settle settle_;
    bool audits_ends_ = false;
    bool traces_exits_ = false;
    std::uint64_t traced_exits_ = 0;  // In this life.
    replay::Recorder recorder_;
    LandmarkGrace grace_;
    SystemClock clock_;
    Instant flushed_at_{};
    Instant settled_at_{};
};

}  // namespace ftvmm::node
