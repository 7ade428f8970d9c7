// How long an input waits for a landmark, how often a guest is settled, and how late it is told.
#include <catch2/catch.hpp>

#include "node/landmark_grace.h"
#include "node/settle_pace.h"
#include "node/waker.h"

namespace ftvmm::node {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

LandmarkGrace grace_of(milliseconds cost) {
    LandmarkGrace grace;
    for (int i = 0; i < 200; ++i)
        grace.add(cost);
    return grace;
}

TEST_CASE("The dearer checkpoints are the longer an input waits, and never too long") {
    CHECK(grace_of(milliseconds(0)).for_tick() == milliseconds(10));
    CHECK(grace_of(milliseconds(1)).for_tick() < grace_of(milliseconds(2)).for_tick());
    // With the checkpoint itself a tick is within 60 ms, and a packet within 5.
    for (const int cost : {1, 3, 8, 14, 20})
        CHECK(grace_of(milliseconds(cost)).for_tick() + milliseconds(cost) <= milliseconds(57));
    // One that takes longer than that must not be all that the guest does.
    CHECK(grace_of(milliseconds(500)).for_tick() >= milliseconds(30));
    CHECK(grace_of(milliseconds(500)).for_input() <= milliseconds(3));
    CHECK(grace_of(milliseconds(0)).for_input() >= microseconds(100));
}

TEST_CASE("A guest that needs no checkpoints is settled ever more rarely, but for good") {
    SettlePace pace;
    Instant now{seconds(1000)};
    REQUIRE(pace.is_due(now));
    milliseconds last{0};
    for (int i = 0; i < 10; ++i) {
        pace.settled(now);
        milliseconds waited{0};
        for (; !pace.is_due(now); now += milliseconds(1))
            waited += milliseconds(1);
        CHECK(waited >= last);
        CHECK(waited <= seconds(1));
        last = waited;
    }
    CHECK(last >= milliseconds(500));
}

TEST_CASE("Behind a checkpoint a guest is settled soon, but not at once") {
    SettlePace pace;
    Instant now{seconds(1000)};
    for (int i = 0; i < 10; ++i)
        pace.settled(now);
    pace.checkpointed(now);
    CHECK_FALSE(pace.is_due(now));
    CHECK(pace.is_due(now + milliseconds(20)));
}

TEST_CASE("The first of several wakes says since when there is news, once") {
    Waker waker;
    CHECK_FALSE(waker.take_wake_time());
    const SystemClock clock;
    const Instant before = clock.now();
    waker.wake();
    const Instant after = clock.now();
    waker.wake();
    CHECK(waker.take_news());
    const auto at = waker.take_wake_time();
    REQUIRE(at);
    CHECK(*at >= before);
    CHECK(*at <= after);
    CHECK_FALSE(waker.take_wake_time());
}

}  // namespace
}  // namespace ftvmm::node
