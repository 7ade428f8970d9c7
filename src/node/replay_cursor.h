// A place in a log that is carried out: it moves from landmark to landmark.
#pragma once

#include <memory>
#include <optional>
#include <variant>

#include "node/replay_run.h"
#include "node/replay_watchdog.h"
#include "replay/replayer.h"

namespace ftvmm::node {

// The calling thread is the vCPU's for as long as this lives. All that it is given outlives it.
class ReplayCursor {
  public:
    ReplayCursor(replay::LogReader& log, const MakeMachine& make, const ReplayRun& options,
                 DeadlineTimer timer);
    ReplayCursor(const ReplayCursor&) = delete;
    ReplayCursor& operator=(const ReplayCursor&) = delete;
    ~ReplayCursor() = default;

    enum class Came : std::uint8_t {
        kFurther,  // To the next landmark, or just to what the log holds next.
        kNowhere,  // The run was ended before it came to a landmark.
        kToEnd,    // See end(). It goes no further.
    };
    // Up to one landmark further. An error: the log can not be read or followed, or no machine can
    // be made.
    [[nodiscard]] Result<Came> advance();

    using How = decltype(ReplayEnd::how);
    [[nodiscard]] const std::optional<How>& end() const { return how_; }
    // What the whole replay came to. Requires that it came to its end.
    [[nodiscard]] ReplayEnd take_end();
    [[nodiscard]] ReplayProgress progress() const;
    // The lives that have begun: of how many the one is that the landmarks are of.
    [[nodiscard]] std::uint64_t lives() const { return lives_; }

  private:
    Result<Came> on(replay::step::Progress&);
    Result<Came> on(replay::step::NeedsRecords&);
    Result<Came> on(replay::step::PowersOn& powers_on);
    Result<Came> on(replay::step::Ended& ended);
    Result<Came> on(replay::step::Diverged& diverged);
    Result<Came> on(replay::step::Kicked&);
    Came come_to(How how);
    void cut(replay::Batch& batch);
    void give_outputs();
    void tell_progress();

    replay::LogReader& log_;
    const MakeMachine& make_;
    const ReplayRun& options_;
    SystemClock clock_;
    replay::Replayer replayer_;
    std::unique_ptr<replay::GuestMachine> machine_;
    ReplayWatchdog watchdog_;  // Behind the machine that it watches.
    std::uint64_t lives_ = 0;
    bool cut_ = false;
    GuestTime time_{};
    unsigned steps_ = 0;
    Instant told_at_{};
    std::optional<How> how_;
};

}  // namespace ftvmm::node
