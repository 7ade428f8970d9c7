#include "pair/follow_run.h"

#include <optional>
#include <utility>

#include "base/overloaded.h"

namespace ftvmm::pair {

namespace {

using node::ReplayWatchdog;

// How often the Primary learns how far it has come: it is what the lag is told by.
constexpr std::chrono::milliseconds kTellEvery{2};
constexpr unsigned kStepsPerLook = 32;

class Follow {
  public:
    Follow(FollowRun run, BatchQueue& queue, node::DeadlineTimer timer)
        : run_(std::move(run)),
          queue_(queue),
          machine_(std::move(run_.machine)),
          watchdog_(std::move(timer)),
          replayer_(*machine_, {.first = run_.first}),
          time_(run_.time),
          time_at_(clock_.now()) {
        // In flight where the log begins: the Primary knows of it, and has its marks behind it.
        for (replay::Output& output : machine_->take_outputs())
            in_flight_.add(std::move(output));
        watchdog_.enter(*machine_);
    }

    Result<FollowEnd> to_end() {
        while (!how_) {
            FTVMM_ASSIGN(auto step, replayer_.step());
            for (replay::Output& output : replayer_.take_outputs())
                in_flight_.add(std::move(output));
            FTVMM_TRY(std::visit([this](auto& it) { return on(it); }, step));
            if (++steps_ % kStepsPerLook == 0) tell_now_and_then();
        }
        tell();
        watchdog_.leave();
        if (is_between_lives_) machine_.reset();
        FollowEnd end{std::move(*how_), std::move(machine_), {}, replayer_.next(), time_, time_at_};
        // A guest that has diverged never asks for what it will have been answered.
        if (std::holds_alternative<follow_end::LogEnded>(end.how) && !is_between_lives_) {
            end.in_flight = in_flight_.take();
        }
        return end;
    }

  private:
    Result<void> on(replay::step::Progress&) { return {}; }
    Result<void> on(replay::step::NeedsRecords&) {
        tell();
        auto batch = queue_.take();
        if (!batch) {
            how_ = follow_end::LogEnded{};
            return {};
        }
        for (const replay::Record& record : batch->records) {
            in_flight_.add(record);
            if (const auto* time = std::get_if<replay::input::Time>(&record.body)) {
                time_ = time->now;
                time_at_ = clock_.now();
            }
        }
        return replayer_.feed(std::move(*batch));
    }
    Result<void> on(replay::step::PowersOn& powers_on) {
        watchdog_.leave();
        machine_.reset();
        in_flight_.begin_life();
        FTVMM_ASSIGN(machine_, run_.make(powers_on.record.rng_seed));
        watchdog_.enter(*machine_);
        replayer_.power_on(*machine_);
        time_ = GuestTime{};
        time_at_ = clock_.now();
        is_between_lives_ = false;
        return {};
    }
    Result<void> on(replay::step::Ended& ended) {
        if (replay::is_reset(ended.end.kind)) {
            is_between_lives_ = true;
        } else {
            how_ = follow_end::Ended{ended.end};
        }
        return {};
    }
    Result<void> on(replay::step::Diverged& diverged) {
        how_ = follow_end::Diverged{std::move(diverged.divergence)};
        return {};
    }
    Result<void> on(replay::step::Kicked&) {
        if (watchdog_.kicked() != ReplayWatchdog::Found::kHangs) return {};
        how_ = follow_end::Diverged{{replay::DivergenceKind::kWentOn, machine_->landmark(),
                                     replayer_.next(), "another landmark",
                                     "the guest has not come to one for 30 s", replayer_.agreed()}};
        return {};
    }

    void tell() { run_.replayed(replayer_.next(), time_); }
    void tell_now_and_then() {
        const Instant now = clock_.now();
        if (now - told_at_ < kTellEvery) return;
        told_at_ = now;
        tell();
    }

    FollowRun run_;
    BatchQueue& queue_;
    SystemClock clock_;
    std::unique_ptr<replay::GuestMachine> machine_;
    ReplayWatchdog watchdog_;
    replay::Replayer replayer_;
    RequestsInFlight in_flight_;
    GuestTime time_{};
    Instant time_at_{};
    bool is_between_lives_ = false;
    unsigned steps_ = 0;
    Instant told_at_{};
    std::optional<decltype(FollowEnd::how)> how_;
};

}  // namespace

Result<FollowEnd> follow(FollowRun run, BatchQueue& queue) {
    FTVMM_ASSIGN(auto timer, node::DeadlineTimer::create());
    return Follow(std::move(run), queue, std::move(timer)).to_end();
}

}  // namespace ftvmm::pair
