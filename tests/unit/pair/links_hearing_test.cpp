// Whether the two ends of a pair's link take each other for lost.
#include "link_pair.h"

namespace ftvmm::pair {

TEST_CASE("Two that hear each other stay a pair, and tell by which paths") {
    constexpr std::chrono::milliseconds kDeadAfter{300};
    Pair pair({}, {.dead_after = kDeadAfter});
    std::atomic<std::size_t> b_paths{0};
    pair.b->on_paths([&](const std::vector<PathStatus>& paths) { b_paths = paths.size(); });
    pair.protect();
    const SystemClock clock;
    const Instant begun = clock.now();
    // Longer than silence may take, of the host or of its link.
    REQUIRE(await([&] { return clock.now() - begun > (kStuckAfterDeaths + 1) * kDeadAfter; }));
    CHECK_FALSE(pair.a->lost());
    CHECK_FALSE(pair.b->lost());
    const auto paths = pair.a->paths();
    REQUIRE(paths.size() == 2);
    CHECK(paths[0].name == "link");
    CHECK(paths[0].heard_ago);
    CHECK(paths[1].name == "127.0.0.1 to 127.0.0.1");
    CHECK(paths[1].state == PathStatus::State::kHeard);
    CHECK(paths[1].taken > 10);
    CHECK(paths[1].refused == 0);
    CHECK(b_paths == 2);
    pair.a->close();
    CHECK(pair.a->paths().empty());
}

TEST_CASE("A Primary that is silent for too long is lost, and beats of another key count nothing") {
    constexpr std::chrono::milliseconds kDeadAfter{300};
    std::promise<void> end;  // Outlives the loop that waits for it.
    const auto ended = end.get_future().share();
    Pair pair({}, {.dead_after = kDeadAfter, .has_own_keys = true});
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> taken{0};
    pair.b->on_paths([&](const std::vector<PathStatus>& paths) {
        refused = paths.back().refused;
        taken = paths.back().taken;
    });
    pair.protect();
    // The link alone is life enough.
    const SystemClock clock;
    const Instant begun = clock.now();
    REQUIRE(await([&] { return clock.now() - begun > 3 * kDeadAfter && refused > 10; }));
    CHECK_FALSE(pair.b->lost());
    const Instant silent_from = clock.now();
    pair.a_loop.post([ended] { ended.wait(); });
    CHECK_THAT(pair.why_b_is_lost(), Contains("it is silent: on path link for "));
    // Its last word may be as old as the time between two probes.
    CHECK(clock.now() - silent_from >= kDeadAfter / 2);
    CHECK(clock.now() - silent_from < kStuckAfterDeaths * kDeadAfter);
    // The last promise: nothing was answered behind the last word of the Primary.
    CHECK(pair.b->promised_at());
    CHECK(pair.b->promised_at() < silent_from + kDeadAfter);
    CHECK_FALSE(pair.b->is_primary_heard());
    CHECK(taken == 0);
    CHECK_THAT(pair.b_lines.all(), Contains("path 127.0.0.1 to 127.0.0.1 to the other host is "
                                            "silent for "));
    end.set_value();
}

TEST_CASE(
    "A link that is stuck is lost, on either side, though its host beats: later than a dead one") {
    constexpr std::chrono::milliseconds kDeadAfter{200};
    const bool primary_is_stuck = GENERATE(true, false);
    std::promise<void> end;  // Outlives the loop that waits for it.
    const auto ended = end.get_future().share();
    Pair pair({}, {.dead_after = kDeadAfter});
    pair.protect();
    const SystemClock clock;
    const Instant silent_from = clock.now();
    (primary_is_stuck ? pair.a_loop : pair.b_loop).post([ended] { ended.wait(); });
    const std::string why = primary_is_stuck ? pair.why_b_is_lost() : pair.why_a_is_lost();
    CHECK_THAT(why, Contains("its host beats, and nothing comes on the link"));
    CHECK(clock.now() - silent_from >= (kStuckAfterDeaths - 1) * kDeadAfter);
    if (primary_is_stuck) CHECK(pair.b->is_primary_heard());
    end.set_value();
}

TEST_CASE("A Primary whose link alone is lost is heard until it has given it up") {
    constexpr std::chrono::milliseconds kDeadAfter{200};
    Pair pair({}, {.dead_after = kDeadAfter});
    pair.protect();
    pair.b->close();
    CHECK_THAT(pair.why_a_is_lost(), Contains("connection"));
    const SystemClock clock;
    const Instant lost_at = clock.now();
    REQUIRE(await([&] { return clock.now() - lost_at > 3 * kDeadAfter; }));
    CHECK(pair.b->is_primary_heard());
    pair.a->close();
    CHECK(await([&] { return !pair.b->is_primary_heard(); }));
}

}  // namespace ftvmm::pair
