// DebugReplay's ways back.
#include <algorithm>
#include <deque>
#include <utility>

#include "node/debug_replay.h"

namespace ftvmm::node {

// Goes to `place` by steps alone, from its landmark on; how many they are.
Result<std::uint64_t> DebugReplay::step_to(const Place& place, const Look& look) {
    FTVMM_TRY(go_to({place.life, place.landmark, {}}));
    (void)changed();
    std::uint64_t steps = 0;
    for (const auto& leg : place.legs) {
        for (std::uint64_t i = 0; i < leg.count;) {
            FTVMM_TRY(follow({std::nullopt, 1}));
            ++steps;
            look();
            if (!leg.address || rip() == *leg.address) ++i;
        }
    }
    return steps;
}

// Steps from landmark `from` to landmark `end`; the last place between two instructions, if there
// is one.
Result<std::optional<ReplayPlace>> DebugReplay::step_to_landmark(const Place& from,
                                                                 const Place& end,
                                                                 const Look& look) {
    FTVMM_TRY(go_to(from));
    (void)changed();
    std::optional<Place> last;
    while (true) {
        FTVMM_ASSIGN(const Came came, advance_step());
        if (at_ == end || came == Came::kToEnd) {
            look();
            return last;
        }
        if (came != Came::kToStop) continue;
        look();
        last = at_;
    }
}

// The place one instruction before, or nothing: `place` is the first.
Result<std::optional<ReplayPlace>> DebugReplay::before(const Place& place) {
    const Place landmark{place.life, place.landmark, {}};
    FTVMM_ASSIGN(const std::uint64_t steps, step_to(place, [] {}));
    if (steps < 2) return before_landmark(landmark);
    return Place{place.life, place.landmark, {{std::nullopt, steps - 1}}};
}

// An instruction may have more than one landmark, so the one before may lie some of them back.
Result<std::optional<ReplayPlace>> DebugReplay::before_landmark(const Place& landmark) {
    // The longest instruction prints or reads as many bytes by one exit each.
    constexpr std::size_t kMostBack = 65536;
    std::deque<Place> passed;
    FTVMM_TRY(rewind());
    while (at_ != landmark) {
        if (passed.empty() || passed.back() != at_) passed.push_back(at_);
        if (passed.size() > kMostBack) passed.pop_front();
        FTVMM_ASSIGN(const Came came, advance({}));
        if (came == Came::kToEnd && at_ != landmark) return Failure(no_such_place());
    }
    for (std::size_t back = 1; !passed.empty(); back *= 2) {
        const std::size_t first = passed.size() - std::min(back, passed.size());
        FTVMM_ASSIGN(const auto last, step_to_landmark(passed.at(first), landmark, [] {}));
        if (last || first == 0) return last;
    }
    return std::nullopt;
}

Result<debug::Stopped> DebugReplay::stop_at(const std::optional<Place>& place,
                                            const debug::Stopped& why) {
    if (place) {
        FTVMM_TRY(go_to(*place));
        return why;
    }
    FTVMM_TRY(rewind());
    FTVMM_TRY(step());
    return debug::stopped::AtBegin{};
}

Result<debug::Stopped> DebugReplay::step_back() {
    const Place here = at_;
    FTVMM_ASSIGN(const auto place, before(here));
    return stop_at(place, debug::stopped::Stepped{});
}

// Runs the whole way up to here once more, and keeps what it found last.
Result<debug::Stopped> DebugReplay::go_back() {
    const Place end = at_;
    found_.reset();
    FTVMM_TRY(rewind());
    (void)changed();
    FTVMM_ASSIGN(const bool is_interrupted, search_to({end.life, end.landmark, {}}));
    if (is_interrupted) {
        FTVMM_TRY(step());
        return debug::stopped::Interrupted{};
    }
    for (const auto& leg : end.legs)
        FTVMM_TRY(search_leg(leg, &leg == &end.legs.back()));
    if (!found_) return stop_at(std::nullopt, debug::stopped::AtBegin{});
    if (!found_->watch) return stop_at(found_->place, debug::stopped::Breakpoint{});
    const Found found = *found_;
    FTVMM_ASSIGN(const auto place, before_change(found));
    return stop_at(place, debug::stopped::Watched{*found.watch});
}

// To a landmark. True: somebody wished to look before.
Result<bool> DebugReplay::search_to(const Place& end) {
    Place from = at_;
    while (at_ != end) {
        FTVMM_ASSIGN(const Came came, advance({.addresses = breakpoints_}));
        if (came == Came::kNowhere) continue;
        if (came == Came::kToEnd && at_ != end) return Failure(no_such_place());
        if (came == Came::kToStop) note_arrival();
        note_change(from);
        if (came == Came::kToStop) found_ = Found{at_, at_, std::nullopt};
        from = at_;
        if (source_.is_interrupted()) return true;
    }
    return false;
}

// A leg of the way from the last landmark to where the search ends: with the last one.
Result<void> DebugReplay::search_leg(const ReplayPlace::Leg& leg, bool is_last) {
    auto addresses = breakpoints_;
    if (leg.address) addresses.push_back(*leg.address);
    for (std::uint64_t i = 0; i < leg.count;) {
        const Place from = at_;
        FTVMM_ASSIGN(const Came came,
                     leg.address ? advance({.addresses = addresses}) : advance_step());
        if (came == Came::kNowhere) continue;
        if (came != Came::kToStop) return Failure(no_such_place());
        if (leg.address) note_arrival();
        note_change(from);
        if (!leg.address || rip() == *leg.address) ++i;
        const bool is_end = is_last && i == leg.count;
        if (!is_end && is_at_breakpoint()) found_ = Found{at_, at_, std::nullopt};
    }
    return {};
}

void DebugReplay::note_change(const Place& from) {
    if (const auto watch = changed()) found_ = Found{at_, from, watch};
}

// The place from which the next instruction makes the last change.
Result<std::optional<ReplayPlace>> DebugReplay::before_change(const Found& found) {
    std::optional<Place> last;
    std::optional<Place> before_last;
    bool is_first = false;
    const Look look = [&] {
        if (changed()) {
            before_last = last;
            is_first = !last;
        }
        last = at_;
    };
    const Place from{found.from.life, found.from.landmark, {}};
    if (found.place.legs.empty()) {
        FTVMM_TRY(step_to_landmark(from, found.place, look));
    } else {
        FTVMM_TRY(step_to(found.place, look));
    }
    return is_first ? before_landmark(from) : Result<std::optional<Place>>(before_last);
}

}  // namespace ftvmm::node
