#include "node/replay_run.h"

#include <algorithm>
#include <utility>

#include "base/overloaded.h"
#include "node/deadline_timer.h"
#include "node/waker.h"
#include "replay/replayer.h"

namespace ftvmm::node {

namespace {

// A guest that has diverged may never exit again. No recorded guest goes for so long without a
// landmark, and no replay is so much slower.
constexpr std::chrono::seconds kPatience{10};
constexpr int kMostPatience = 3;

class Run {
  public:
    Run(replay::LogReader& log, const MakeMachine& make, const ReplayRun& options,
        DeadlineTimer timer)
        : log_(log),
          make_(make),
          options_(options),
          timer_(std::move(timer)),
          replayer_(replay::ReplayOptions{.compare_audits = options.compare_audits}) {}

    Result<ReplayEnd> to_end() {
        timer_.cover(clock_.now() + kPatience);
        while (!how_) {
            FTVMM_ASSIGN(auto step, replayer_.step());
            give_outputs();
            FTVMM_TRY(std::visit([this](auto& it) { return on(it); }, step));
            tell_progress();
        }
        if (machine_) waker_.leave_machine();
        ReplayEnd end{std::move(*how_), progress(), replayer_.next().value(), std::move(machine_)};
        return end;
    }

  private:
    using How = decltype(ReplayEnd::how);

    Result<void> on(replay::step::Progress&) { return {}; }
    Result<void> on(replay::step::NeedsRecords&) {
        if (cut_) {
            how_ = replay_end::Reached{};
            return {};
        }
        FTVMM_ASSIGN(auto batch, log_.next());
        if (!batch) {
            how_ = replay_end::LogEnded{log_.tail()};
            return {};
        }
        cut(*batch);
        return batch->records.empty() ? Result<void>{} : replayer_.feed(std::move(*batch));
    }
    Result<void> on(replay::step::PowersOn& powers_on) {
        if (machine_) waker_.leave_machine();
        machine_.reset();
        FTVMM_ASSIGN(machine_, make_(powers_on.record.rng_seed));
        waker_.enter_machine(*machine_);
        replayer_.power_on(*machine_);
        return {};
    }
    Result<void> on(replay::step::Ended& ended) {
        if (!replay::is_reset(ended.end.kind)) how_ = replay_end::Ended{ended.end};
        return {};
    }
    Result<void> on(replay::step::Diverged& diverged) {
        how_ = replay_end::Diverged{std::move(diverged.divergence)};
        return {};
    }
    Result<void> on(replay::step::Kicked&) {
        (void)waker_.take_news();
        machine_->clear_kick();
        const Instant now = clock_.now();
        timer_.passed(now);
        timer_.cover(now + kPatience);
        if (machine_->landmark() != kicked_at_) {
            kicked_at_ = machine_->landmark();
            kicks_ = 0;
        } else if (++kicks_ == kMostPatience) {
            how_ = replay_end::Diverged{
                {replay::DivergenceKind::kWentOn, machine_->landmark(), replayer_.next(),
                 "another landmark", "the guest has not come to one for 30 s", replayer_.agreed()}};
        }
        return {};
    }

    // Drops what lies behind the end that was asked for.
    void cut(replay::Batch& batch) {
        const auto is_behind = [&](const replay::Record& record) {
            const auto seq = replay::Seq(
                batch.first.value() + static_cast<std::uint64_t>(&record - batch.records.data()));
            if (options_.until_seq && seq > *options_.until_seq) return true;
            const auto* time = std::get_if<replay::input::Time>(&record.body);
            if (time == nullptr) return false;
            if (options_.until_time && time->now > *options_.until_time) return true;
            time_ = time->now;
            return false;
        };
        const auto first = std::ranges::find_if(batch.records, is_behind);
        cut_ = first != batch.records.end();
        batch.records.erase(first, batch.records.end());
    }

    void give_outputs() {
        for (const replay::Output& output : replayer_.take_outputs()) {
            if (options_.output) options_.output(output);
        }
    }

    [[nodiscard]] ReplayProgress progress() const {
        return {log_.offset(), machine_ ? machine_->landmark() : replay::Landmark{}, time_};
    }
    void tell_progress() {
        constexpr int kStepsPerLook = 256;
        constexpr std::chrono::milliseconds kEvery{100};
        if (!options_.progress || ++steps_ % kStepsPerLook != 0) return;
        const Instant now = clock_.now();
        if (now - told_at_ < kEvery) return;
        told_at_ = now;
        options_.progress(progress());
    }

    replay::LogReader& log_;
    const MakeMachine& make_;
    const ReplayRun& options_;
    SystemClock clock_;
    Waker waker_;  // Before the timer, whose signals come to it.
    DeadlineTimer timer_;
    replay::Replayer replayer_;
    std::unique_ptr<replay::GuestMachine> machine_;
    bool cut_ = false;
    GuestTime time_{};
    replay::Landmark kicked_at_;
    int kicks_ = 0;
    unsigned steps_ = 0;
    Instant told_at_{};
    std::optional<How> how_;
};

}  // namespace

Result<ReplayEnd> run_replay(replay::LogReader& log, const MakeMachine& make,
                             const ReplayRun& options) {
    FTVMM_ASSIGN(auto timer, DeadlineTimer::create());
    return Run(log, make, options, std::move(timer)).to_end();
}

}  // namespace ftvmm::node
