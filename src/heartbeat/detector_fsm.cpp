#include "heartbeat/detector_fsm.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/check.h"

namespace ftvmm::heartbeat {

Timeouts Timeouts::of(std::chrono::milliseconds dead) {
    Timeouts timeouts;
    timeouts.dead = dead;
    timeouts.suspect = dead / 2;
    timeouts.own_gap = std::min(timeouts.own_gap, dead - 2 * timeouts.beat);
    return timeouts;
}

Result<void> Timeouts::check() const {
    using std::chrono::milliseconds;
    constexpr milliseconds kShortestBeat{1};
    constexpr milliseconds kLongest{3'600'000};
    if (beat < kShortestBeat || beat > kLongest) {
        return fail(fmt::format("a beat every {} ms is not possible", beat.count()),
                    "set it from 1 ms to an hour");
    }
    // One beat that is lost or late is no suspicion.
    if (suspect < 2 * beat) {
        return fail(fmt::format("a peer that beats every {} ms can not be suspect after {} ms",
                                beat.count(), suspect.count()),
                    "set the timeout for suspicion to two beats or more");
    }
    if (dead < suspect + beat || dead > kLongest) {
        return fail(fmt::format("a peer that is suspect after {} ms can not be dead after {} ms",
                                suspect.count(), dead.count()),
                    "set the timeout for death to a beat more than that for suspicion, or longer");
    }
    // A gap that goes unnoticed must not use up the peer's time, nor two late beats be a gap.
    if (own_gap < 2 * beat || own_gap + 2 * beat > dead) {
        return fail(fmt::format("a gap of {} ms in one's own time can not be told from a peer that "
                                "is dead after {} ms",
                                own_gap.count(), dead.count()),
                    "set it between two beats and two beats less than the timeout for death");
    }
    return {};
}

DetectorFsm::DetectorFsm(std::size_t paths, const Timeouts& timeouts, Instant now)
    : timeouts_(timeouts),
      paths_(paths, Path{Instant::min(), false}),
      ticked_at_(now),
      runs_since_(now) {
    FTVMM_CHECK(paths >= 1 && paths <= kMaxPaths, "a detector has a path, and no more than it may");
    FTVMM_CHECK(timeouts.check(), "timeouts were checked");
}

DetectorFsm::Path& DetectorFsm::at(PathId path) {
    FTVMM_CHECK(path.value() < paths_.size(), "a detector is told of the paths that it has");
    return paths_[path.value()];
}

void DetectorFsm::heard(PathId path, Instant at_time) {
    Path& heard = at(path);
    heard.heard_at = std::max(heard.heard_at, at_time);
    heard.refuses = false;
    heard_since_ = true;
}

void DetectorFsm::refused(PathId path) {
    Path& refused = at(path);
    refused.refuses = refused.heard_at != Instant::min();
}

Instant DetectorFsm::silent_since(const Path& path) const {
    return std::max(path.heard_at, runs_since_);
}

Instant DetectorFsm::all_silent_since() const {
    Instant newest = runs_since_;
    for (const Path& path : paths_)
        newest = std::max(newest, silent_since(path));
    return newest;
}

bool DetectorFsm::is_gone(Instant now) const {
    if (refusing().empty()) return false;
    return std::ranges::all_of(paths_, [&](const Path& path) {
        return path.refuses || now - silent_since(path) >= timeouts_.suspect;
    });
}

std::vector<PathId> DetectorFsm::refusing() const {
    std::vector<PathId> refusing;
    for (std::uint32_t i = 0; i < paths_.size(); ++i)
        if (paths_[i].refuses) refusing.emplace_back(i);
    return refusing;
}

std::vector<Verdict> DetectorFsm::tick(Instant now) {
    FTVMM_CHECK(now >= ticked_at_, "time does not fall");
    std::vector<Verdict> verdicts;
    const auto gap = now - ticked_at_;
    ticked_at_ = now;
    if (gap > timeouts_.own_gap) {
        runs_since_ = now;
        if (state_ == State::kSuspect) state_ = State::kAlive;
        verdicts.emplace_back(verdict::Stopped{gap});
    }
    const auto silent_for = now - all_silent_since();
    if (heard_since_ && state_ != State::kAlive && silent_for < timeouts_.suspect) {
        state_ = State::kAlive;
        verdicts.emplace_back(verdict::Alive{});
    }
    heard_since_ = false;
    if (state_ == State::kAlive && silent_for >= timeouts_.suspect) {
        state_ = State::kSuspect;
        verdicts.emplace_back(verdict::Suspect{silences(now)});
    }
    if ((state_ == State::kAlive || state_ == State::kSuspect) && is_gone(now)) {
        state_ = State::kGone;
        verdicts.emplace_back(verdict::ProcessGone{refusing()});
    }
    if (state_ != State::kDead && silent_for >= timeouts_.dead) {
        state_ = State::kDead;
        verdicts.emplace_back(verdict::Dead{silences(now)});
    }
    return verdicts;
}

Instant DetectorFsm::deadline() const {
    Instant next = Instant::max();
    if (state_ == State::kDead) return next;
    for (const Path& path : paths_) {
        for (const auto timeout : {timeouts_.suspect, timeouts_.dead}) {
            const Instant due = silent_since(path) + timeout;
            if (due > ticked_at_) next = std::min(next, due);
        }
    }
    return next;
}

std::vector<PathSilence> DetectorFsm::silences(Instant now) const {
    std::vector<PathSilence> silences;
    for (std::uint32_t i = 0; i < paths_.size(); ++i) {
        const Instant since = std::min(now, silent_since(paths_[i]));
        silences.push_back({PathId(i), now - since});
    }
    return silences;
}

}  // namespace ftvmm::heartbeat
