#include "beat_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "pair_of_sessions.h"

namespace ftvmm::heartbeat::testing {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kTroubleEnds{8000};
constexpr milliseconds kEnd{10'000};
// What a host takes to run a thread that is due.
constexpr milliseconds kTick{10};
// What a lease ends earlier by, for clocks that go at different rates.
constexpr milliseconds kMargin{10};
// A beat that is this young can not be too old for the window.
constexpr milliseconds kYoung{1000};

constexpr std::size_t kAliveVerdict = 0;
constexpr std::size_t kSuspectVerdict = 1;
constexpr std::size_t kDeadVerdict = 2;
constexpr std::size_t kGoneVerdict = 3;
constexpr std::size_t kStoppedVerdict = 4;

}  // namespace

BeatWorld::BeatWorld(std::uint64_t seed, Mutant mutant) : random_(seed), mutant_(mutant) {
    faults_.loss = seed % 4 * 100;
    faults_.repeat = seed % 3 * 100;
    faults_.jitter =
        std::array<Duration, 3>{microseconds(100), milliseconds(20), milliseconds(150)}.at(seed /
                                                                                           2 % 3);
    faults_.pauses = seed / 3 % 2 == 0;
    faults_.cuts = seed / 5 % 3 != 0;
    faults_.attacks = seed / 7 % 2 == 0;
    for (std::size_t i = 0; i < sides_.size(); ++i) {
        Side& side = sides_.at(i);
        side.offset = seconds(random_.below(1'000'000));
        side.rate = 1 + (static_cast<double>(random_.below(401)) - 200) * 1e-6;
        side.session.emplace(some_identity(), i == 0 ? first_keys() : second_keys());
        side.role = i == 0 ? Role::kPrimary : Role::kSecondary;
        const Instant start = clock_of(side, Duration(0));
        const bool is_split = mutant_ == Mutant::kAnyPath;
        for (std::size_t n = 0; n < (is_split ? kPaths : 1); ++n)
            side.detectors.emplace_back(is_split ? 1 : kPaths, timeouts_, start);
        side.runs_since = side.newest_arrival = side.newest_read = side.judged_at = side.ticked_at =
            side.paused_at = start;
        side.next_beat = side.wakes_at = up_to(timeouts_.beat);
    }
    if (seed % 5 == 4) sides_.at(random_.below(2)).crashed_at = seconds(1) + up_to(seconds(5));
}

Instant BeatWorld::clock_of(const Side& side, Duration now) const {
    return Instant(side.offset + Duration(static_cast<Duration::rep>(
                                     static_cast<double>(now.count()) * side.rate)));
}

BeatWorld::Duration BeatWorld::true_time(const Side& side, Instant instant) const {
    const auto local = instant.time_since_epoch() - side.offset;
    return Duration(static_cast<Duration::rep>(static_cast<double>(local.count()) / side.rate));
}

BeatWorld::Duration BeatWorld::up_to(Duration bound) {
    return Duration(
        static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(bound.count()) + 1)));
}

void BeatWorld::broken(const std::string& what) {
    if (!broken_) broken_ = fmt::format("at {} ms: {}", now_ / milliseconds(1), what);
}

std::optional<std::string> BeatWorld::run() {
    Duration next_trouble{};
    while (now_ < kEnd && !broken_) {
        Duration next = std::min({next_trouble, sides_[0].wakes_at, sides_[1].wakes_at});
        if (!flights_.empty()) next = std::min(next, flights_.front().at);
        now_ = std::max(now_, next);
        if (next_trouble <= now_) {
            if (now_ < kTroubleEnds) make_trouble();
            next_trouble = now_ + milliseconds(20);
        }
        while (!flights_.empty() && flights_.front().at <= now_) {
            std::ranges::pop_heap(flights_, std::greater<>());
            const Flight flight = std::move(flights_.back());
            flights_.pop_back();
            arrive(flight);
        }
        for (std::size_t i = 0; i < sides_.size(); ++i)
            if (sides_.at(i).wakes_at <= now_) turn(i);
    }
    if (!broken_) judge_end();
    return broken_;
}

void BeatWorld::make_trouble() {
    for (Side& side : sides_)
        if (faults_.pauses && one_of_1000(20)) pause(side);
    if (faults_.cuts && one_of_1000(30)) {
        // One way of one path, all ways of it, or everything.
        const auto until = now_ + up_to(milliseconds(1500));
        const auto what = random_.below(3);
        const auto to = random_.below(2);
        const auto path = random_.below(kPaths);
        for (std::size_t t = 0; t < 2; ++t) {
            for (std::size_t p = 0; p < kPaths; ++p) {
                const bool is_cut = what == 2 || (p == path && (what == 1 || t == to));
                if (is_cut) cut_until_.at(t).at(p) = std::max(cut_until_.at(t).at(p), until);
            }
        }
    }
    if (faults_.attacks) attack();
}

void BeatWorld::pause(Side& side) {
    if (side.paused_until > now_) return;
    const Duration length = random_.below(2) == 0 ? up_to(milliseconds(190))
                                                  : milliseconds(202) + up_to(milliseconds(800));
    side.paused_until = now_ + length;
    side.wakes_at = std::max(side.wakes_at, side.paused_until);
    side.paused_at = clock_of(side, side.paused_until);
    if (side.paused_at - clock_of(side, now_) <= timeouts_.own_gap) return;
    side.is_to_say_stopped = true;
    side.runs_since = side.paused_at;
}

// Old beats, beats of the other direction, damaged ones and nonsense.
void BeatWorld::attack() {
    if (overheard_.empty() || !one_of_1000(300)) return;
    auto [to, wire] = overheard_.at(random_.below(overheard_.size()));
    switch (random_.below(4)) {
        case 0:
            to = 1 - to;
            break;
        case 1:
            wire.at(random_.below(wire.size())) ^= static_cast<std::byte>(1U << random_.below(8));
            break;
        case 2:
            wire.resize(random_.below(2 * kBeatBytes));
            break;
        default:
            break;
    }
    put(to, random_.below(kPaths), std::move(wire), Duration(0));
}

void BeatWorld::put(std::size_t to, std::size_t path, Wire wire, Duration delay) {
    flights_.push_back({now_ + delay, to, path, std::move(wire), false, flown_++});
    std::ranges::push_heap(flights_, std::greater<>());
}

void BeatWorld::send(std::size_t from, std::size_t path, const BeatBytes& bytes) {
    const std::size_t to = 1 - from;
    const Wire wire(bytes.begin(), bytes.end());
    overheard_.emplace_back(to, wire);
    const bool is_troubled = now_ < kTroubleEnds;
    if (is_troubled && (cut_until_.at(to).at(path) > now_ || one_of_1000(faults_.loss))) return;
    const Duration jitter = is_troubled ? faults_.jitter : Duration(microseconds(100));
    put(to, path, wire, microseconds(50) + up_to(jitter));
    if (is_troubled && one_of_1000(faults_.repeat)) {
        put(to, path, wire, microseconds(50) + up_to(seconds(1)));
    }
}

void BeatWorld::arrive(const Flight& flight) {
    Side& side = sides_.at(flight.to);
    Side& peer = sides_.at(1 - flight.to);
    if (side.crashed_at && *side.crashed_at <= now_) {
        if (flight.is_refusal) return;
        // Its host lives and says that nobody is there.
        flights_.push_back(
            {now_ + microseconds(50), 1 - flight.to, flight.path, {}, true, flown_++});
        std::ranges::push_heap(flights_, std::greater<>());
        return;
    }
    if (flight.is_refusal) {
        if (mutant_ == Mutant::kAnyPath) return;
        side.detectors.front().refused(PathId(static_cast<std::uint32_t>(flight.path)));
    } else {
        const auto is_wire = [&](const BeatBytes& bytes) {
            return std::ranges::equal(bytes, flight.wire);
        };
        const auto sent = std::ranges::find_if(peer.sent, is_wire);
        const auto number = static_cast<std::uint64_t>(sent - peer.sent.begin()) + 1;
        if (sent != peer.sent.end() && side.arrived.insert(number).second) {
            side.has_news = true;
            // One that is older the window may refuse.
            const bool is_young = clock_of(peer, now_) - peer.sent_at.at(number - 1) < kYoung;
            if (is_young) side.newest_arrival = clock_of(side, now_);
        }
        side.sockets.at(flight.path).push_back(flight.wire);
    }
    side.wakes_at = std::max(std::min(side.wakes_at, now_), side.paused_until);
}

void BeatWorld::turn(std::size_t index) {
    Side& side = sides_.at(index);
    if (side.crashed_at && *side.crashed_at <= now_) {
        side.wakes_at = kEnd;
        return;
    }
    const Instant now = clock_of(side, now_);
    if (std::exchange(side.has_news, false)) side.newest_read = now;
    read(side, sides_.at(1 - index), now);
    tick(side, now);
    if (index == 0) judge_lease();
    if (now_ >= side.next_beat) {
        for (std::size_t path = 0; path < kPaths; ++path) {
            side.sent.push_back(side.session->next(side.role, now));
            side.sent_at.push_back(now);
            send(index, path, side.sent.back());
        }
        side.next_beat = now_ + timeouts_.beat;
    }
    Duration due = side.next_beat;
    for (const DetectorFsm& detector : side.detectors) {
        if (detector.deadline() == Instant::max()) continue;
        // Rounded up, so that it is not before the deadline by its own clock.
        due = std::min(due, true_time(side, detector.deadline()) + microseconds(1));
    }
    side.wakes_at = std::max(due, now_ + microseconds(1)) + up_to(kTick / 2);
}

void BeatWorld::read(Side& side, Side& peer, Instant now) {
    for (std::uint32_t path = 0; path < kPaths; ++path) {
        for (const Wire& wire : std::exchange(side.sockets.at(path), {})) {
            auto beat = side.session->take(wire);
            if (!beat) {
                ++counts_.refusals[beat.error()];
                const bool is_old =
                    beat.error() == Refusal::kRepeated || beat.error() == Refusal::kOld;
                if (mutant_ != Mutant::kNoWindow || !is_old) continue;
                beat = *decode_beat(wire, &side == sides_.data() ? first_keys().from_peer
                                                                 : second_keys().from_peer);
            }
            count(side, peer, *beat);
            if (mutant_ == Mutant::kLeaseFromReceipt && beat->echo != BeatNumber()) {
                side.lease_from = now;
            }
            if (mutant_ == Mutant::kAnyPath) {
                side.detectors.at(path).heard(PathId(0), now);
            } else {
                side.detectors.front().heard(PathId(path), now);
            }
        }
    }
    if (mutant_ != Mutant::kLeaseFromReceipt) side.lease_from = side.session->answered_from();
}

// What counts is what the peer sent, once.
void BeatWorld::count(Side& side, Side& peer, const Beat& beat) {
    const std::uint64_t number = beat.number.value();
    ++counts_.taken;
    if (!side.counted.empty() && *side.counted.rbegin() > number) ++counts_.overtaken;
    if (number > peer.sent.size()) return broken("a beat counts that was never sent");
    if (!side.counted.insert(number).second) return broken("a beat counts twice");
}

void BeatWorld::tick(Side& side, Instant now) {
    const auto index = static_cast<std::size_t>(&side - sides_.data());
    std::vector<Verdict> verdicts;
    for (DetectorFsm& detector : side.detectors) {
        if (mutant_ == Mutant::kUnawareOfGap || mutant_ == Mutant::kBlamesForGap) {
            const auto gap = now - side.ticked_at;
            if (mutant_ == Mutant::kBlamesForGap && gap > timeouts_.own_gap) {
                verdicts.emplace_back(verdict::Stopped{gap});
            }
            for (Instant at = side.ticked_at; at < now; at += milliseconds(100))
                std::ranges::copy(detector.tick(at), std::back_inserter(verdicts));
        }
        std::ranges::copy(detector.tick(now), std::back_inserter(verdicts));
    }
    side.ticked_at = now;
    const bool is_told = std::ranges::any_of(
        verdicts, [](const Verdict& verdict) { return verdict.index() == kStoppedVerdict; });
    if (side.is_to_say_stopped && !is_told) broken("a side was stopped and does not notice");
    side.is_to_say_stopped = false;
    for (const Verdict& verdict : verdicts)
        judge(index, verdict, now);
    const auto silent_for = now - std::max(side.newest_read, side.runs_since);
    const bool is_dead = side.most_severe == kDeadVerdict;
    if (!is_dead && silent_for > timeouts_.dead + timeouts_.beat + kTick) {
        broken("nothing comes, and the peer is not dead");
    }
}

void BeatWorld::judge(std::size_t index, const Verdict& verdict, Instant now) {
    Side& side = sides_.at(index);
    const Side& peer = sides_.at(1 - index);
    ++counts_.verdicts[verdict.index()];
    const auto silent_for = now - side.newest_arrival;
    const auto runs_for = now - side.runs_since;
    switch (verdict.index()) {
        case kAliveVerdict:
            if (side.newest_read <= side.judged_at) broken("a peer that is silent is alive");
            break;
        case kSuspectVerdict:
            if (silent_for < timeouts_.suspect) broken("a peer that is heard is suspect");
            if (runs_for < timeouts_.suspect) broken("a peer is blamed for one's own stop");
            break;
        case kDeadVerdict: {
            if (silent_for < timeouts_.dead) broken("a peer that is heard is dead");
            if (runs_for < timeouts_.dead) broken("a peer is blamed for one's own stop");
            const auto unread_for = now - std::max(side.newest_read, side.runs_since);
            const bool was_late = unread_for > timeouts_.dead + kTick;
            if (was_late && now - side.paused_at > seconds(1)) broken("a death is found late");
            if (index == 1 && !side.live_since) {
                side.live_since = now_;
                if (mutant_ != Mutant::kAnswersAsItGoes) side.role = Role::kGoingLive;
                judge_lease();
            }
            break;
        }
        case kGoneVerdict:
            if (!peer.crashed_at || *peer.crashed_at > now_) {
                broken("a process that runs is gone");
            }
            break;
        default:
            // A turn that was about due before a short pause may be too late too.
            if (now - side.paused_at > timeouts_.beat + kTick)
                broken("a side that ran was stopped");
            side.runs_since = now;
            // A dead peer stays dead.
            if (side.most_severe == kSuspectVerdict) side.most_severe = kAliveVerdict;
            return;
    }
    side.most_severe = verdict.index();
    side.judged_at = now;
}

// No moment at which the Secondary is live and the Primary may yet release.
void BeatWorld::judge_lease() {
    const Side& primary = sides_.front();
    const Side& secondary = sides_.back();
    if (!primary.lease_from) return;
    const Duration ends = true_time(primary, *primary.lease_from + timeouts_.dead - kMargin);
    if (now_ < ends) ++counts_.leases;
    if (secondary.live_since && *secondary.live_since < ends) {
        broken("the Secondary is live while the Primary has a lease");
    }
}

void BeatWorld::judge_end() {
    for (const Side& side : sides_)
        if (side.crashed_at) return;
    for (const Side& side : sides_)
        if (side.most_severe != kAliveVerdict) broken("all is well again, and the peer is not");
    const auto& lease_from = sides_.front().lease_from;
    const bool has_lease =
        lease_from && clock_of(sides_.front(), now_) - *lease_from < 3 * timeouts_.beat;
    if (!has_lease && !sides_.back().live_since) broken("all is well again, and there is no lease");
}

}  // namespace ftvmm::heartbeat::testing
