#include "node/replay_cursor.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ftvmm::node {

ReplayCursor::ReplayCursor(replay::LogReader& log, const MakeMachine& make,
                           const ReplayRun& options, DeadlineTimer timer)
    : log_(log),
      make_(make),
      options_(options),
      replayer_(replay::ReplayOptions{.compare_audits = options.compare_audits}),
      watchdog_(std::move(timer)) {}

Result<ReplayCursor::Came> ReplayCursor::advance() {
    if (how_) return Came::kToEnd;
    FTVMM_ASSIGN(auto step, replayer_.step());
    give_outputs();
    FTVMM_ASSIGN(const Came came, std::visit([this](auto& it) { return on(it); }, step));
    tell_progress();
    return came;
}

ReplayEnd ReplayCursor::take_end() {
    FTVMM_CHECK(how_.has_value(), "a replay that goes on has no end");
    watchdog_.leave();
    ReplayEnd end{std::move(*how_), progress(), replayer_.next().value(), std::move(machine_)};
    return end;
}

ReplayCursor::Came ReplayCursor::come_to(How how) {
    how_ = std::move(how);
    return Came::kToEnd;
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::Progress&) {
    return Came::kFurther;
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::NeedsRecords&) {
    if (cut_) return come_to(replay_end::Reached{});
    FTVMM_ASSIGN(auto batch, log_.next());
    if (!batch) return come_to(replay_end::LogEnded{log_.tail()});
    cut(*batch);
    if (!batch->records.empty()) FTVMM_TRY(replayer_.feed(std::move(*batch)));
    return Came::kFurther;
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::PowersOn& powers_on) {
    watchdog_.leave();
    machine_.reset();
    FTVMM_ASSIGN(machine_, make_(powers_on.record.rng_seed));
    ++lives_;
    watchdog_.enter(*machine_);
    replayer_.power_on(*machine_);
    return Came::kFurther;
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::Ended& ended) {
    if (replay::is_reset(ended.end.kind)) return Came::kFurther;
    return come_to(replay_end::Ended{ended.end});
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::Diverged& diverged) {
    return come_to(replay_end::Diverged{std::move(diverged.divergence)});
}

Result<ReplayCursor::Came> ReplayCursor::on(replay::step::Kicked&) {
    // Not for the watchdog: the guest does come to where a debugger wants it.
    if (watchdog_.kicked() != ReplayWatchdog::Found::kHangs) return Came::kNowhere;
    return come_to(replay_end::Diverged{
        {replay::DivergenceKind::kWentOn, machine_->landmark(), replayer_.next(),
         "another landmark", "the guest has not come to one for 30 s", replayer_.agreed()}});
}

// Drops what lies behind the end that was asked for.
void ReplayCursor::cut(replay::Batch& batch) {
    const auto is_behind = [&](const replay::Record& record) {
        const auto seq = replay::Seq(batch.first.value() +
                                     static_cast<std::uint64_t>(&record - batch.records.data()));
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

void ReplayCursor::give_outputs() {
    for (const replay::Output& output : replayer_.take_outputs()) {
        if (options_.output) options_.output(output);
    }
}

ReplayProgress ReplayCursor::progress() const {
    return {log_.offset(), machine_ ? machine_->landmark() : replay::Landmark{}, time_};
}

void ReplayCursor::tell_progress() {
    constexpr int kStepsPerLook = 256;
    constexpr std::chrono::milliseconds kEvery{100};
    if (!options_.progress || ++steps_ % kStepsPerLook != 0) return;
    const Instant now = clock_.now();
    if (now - told_at_ < kEvery) return;
    told_at_ = now;
    options_.progress(progress());
}

}  // namespace ftvmm::node
