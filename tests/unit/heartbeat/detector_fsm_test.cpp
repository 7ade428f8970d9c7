#include "heartbeat/detector_fsm.h"

#include <catch2/catch.hpp>

namespace ftvmm::heartbeat {
namespace {

using std::chrono::milliseconds;

constexpr PathId kFirst(0);
constexpr PathId kSecond(1);

Instant at(int ms) {
    return Instant(milliseconds(ms));
}

// Ticks every 10 ms over (from, to]; what came of them.
std::vector<Verdict> tick_over(DetectorFsm& detector, int from, int to) {
    std::vector<Verdict> verdicts;
    for (int ms = from + 10; ms <= to; ms += 10) {
        for (const Verdict& verdict : detector.tick(at(ms)))
            verdicts.push_back(verdict);
    }
    return verdicts;
}

using Verdicts = std::vector<Verdict>;

TEST_CASE(
    "A peer that was never heard is suspect and dead when its times are over, each said once") {
    DetectorFsm detector(1, {}, at(0));
    CHECK(tick_over(detector, 0, 190).empty());
    CHECK(tick_over(detector, 190, 390) ==
          Verdicts{verdict::Suspect{{{kFirst, milliseconds(200)}}}});
    CHECK(tick_over(detector, 390, 2000) == Verdicts{verdict::Dead{{{kFirst, milliseconds(400)}}}});
}

TEST_CASE("A path that delivers keeps the peer alive, and its verdict tells of each path") {
    DetectorFsm detector(2, {}, at(0));
    for (int ms = 0; ms < 2000; ms += 50) {
        detector.heard(kSecond, at(ms));
        REQUIRE(tick_over(detector, ms, ms + 50).empty());
    }
    CHECK(tick_over(detector, 2000, 2200) ==
          Verdicts{verdict::Suspect{{{kFirst, milliseconds(2150)}, {kSecond, milliseconds(200)}}}});
}

TEST_CASE("A suspect or dead peer that is heard is alive, and can die again") {
    DetectorFsm detector(1, {}, at(0));
    REQUIRE(tick_over(detector, 0, 200).size() == 1);
    detector.heard(kFirst, at(210));
    CHECK(detector.tick(at(210)) == Verdicts{verdict::Alive{}});
    REQUIRE(tick_over(detector, 210, 700).size() == 2);
    detector.heard(kFirst, at(710));
    CHECK(detector.tick(at(710)) == Verdicts{verdict::Alive{}});
    CHECK(tick_over(detector, 710, 1110).size() == 2);
}

TEST_CASE("News that is told late counts from when it came") {
    DetectorFsm detector(1, {}, at(0));
    REQUIRE(tick_over(detector, 0, 150).empty());
    detector.heard(kFirst, at(60));
    CHECK(tick_over(detector, 150, 250).empty());
    CHECK(tick_over(detector, 250, 260).size() == 1);
    // News from before the suspicion is no life after it.
    detector.heard(kFirst, at(60));
    CHECK(tick_over(detector, 260, 450).empty());
    CHECK(tick_over(detector, 450, 460) == Verdicts{verdict::Dead{{{kFirst, milliseconds(400)}}}});
}

TEST_CASE("Who was stopped says so, and the peer has its full time from then on") {
    DetectorFsm detector(1, {}, at(0));
    REQUIRE(tick_over(detector, 0, 190).empty());
    CHECK(detector.tick(at(5000)) == Verdicts{verdict::Stopped{milliseconds(4810)}});
    CHECK(tick_over(detector, 5000, 5190).empty());
    CHECK(tick_over(detector, 5190, 5200).size() == 1);
    CHECK(tick_over(detector, 5200, 5390).empty());
    CHECK(tick_over(detector, 5390, 5400) ==
          Verdicts{verdict::Dead{{{kFirst, milliseconds(400)}}}});
}

TEST_CASE("A stop takes back a suspicion, and no death") {
    DetectorFsm suspicious(1, {}, at(0));
    REQUIRE(tick_over(suspicious, 0, 390).size() == 1);
    CHECK(suspicious.tick(at(1000)) == Verdicts{verdict::Stopped{milliseconds(610)}});
    CHECK(tick_over(suspicious, 1000, 1200).size() == 1);

    DetectorFsm sure(1, {}, at(0));
    REQUIRE(tick_over(sure, 0, 400).size() == 2);
    CHECK(sure.tick(at(1000)).size() == 1);
    CHECK(tick_over(sure, 1000, 3000).empty());
}

TEST_CASE("A gap as long as is allowed is no stop, a longer one is") {
    DetectorFsm detector(1, {}, at(0));
    detector.heard(kFirst, at(200));
    CHECK(detector.tick(at(200)).empty());
    detector.heard(kFirst, at(401));
    CHECK(detector.tick(at(401)) == Verdicts{verdict::Stopped{milliseconds(201)}});
}

TEST_CASE("A peer's process is gone when its host says so on every path that is not silent") {
    DetectorFsm detector(2, {}, at(0));
    detector.heard(kFirst, at(0));
    detector.heard(kSecond, at(0));
    detector.refused(kFirst);
    CHECK(tick_over(detector, 0, 100).empty());
    SECTION("both refuse") {
        detector.refused(kSecond);
        CHECK(detector.tick(at(110)) == Verdicts{verdict::ProcessGone{{kFirst, kSecond}}});
    }
    SECTION("the other is silent") {
        CHECK(tick_over(detector, 100, 190).empty());
        const auto verdicts = tick_over(detector, 190, 200);
        REQUIRE(verdicts.size() == 2);
        CHECK(verdicts[1] == Verdict(verdict::ProcessGone{{kFirst}}));
        CHECK(tick_over(detector, 200, 400).size() == 1);
    }
    SECTION("it refused before it was heard") {
        detector.heard(kFirst, at(105));
        detector.refused(kSecond);
        CHECK(detector.tick(at(110)).empty());
    }
}

TEST_CASE("A peer that has yet to begin is not gone") {
    DetectorFsm detector(1, {}, at(0));
    detector.refused(kFirst);
    CHECK(tick_over(detector, 0, 190).empty());
}

TEST_CASE("A refusal on a path on which the peer was never heard does not shorten its time") {
    DetectorFsm detector(2, {}, at(0));
    detector.heard(kSecond, at(0));
    // A firewall in between.
    detector.refused(kFirst);
    CHECK(tick_over(detector, 0, 200) ==
          Verdicts{verdict::Suspect{{{kFirst, milliseconds(200)}, {kSecond, milliseconds(200)}}}});
    CHECK(tick_over(detector, 200, 390).empty());
}

TEST_CASE("Whoever ticks at the deadlines alone misses no verdict") {
    DetectorFsm detector(2, {}, at(0));
    detector.heard(kSecond, at(30));
    CHECK(detector.tick(at(30)).empty());
    CHECK(detector.deadline() == at(200));
    CHECK(detector.tick(at(200)).empty());
    CHECK(detector.deadline() == at(230));
    CHECK(detector.tick(at(230)).size() == 1);
    CHECK(detector.deadline() == at(400));
    CHECK(detector.tick(at(400)).empty());
    CHECK(detector.deadline() == at(430));
    CHECK(detector.tick(at(430)).size() == 1);
    CHECK(detector.deadline() == Instant::max());
}

TEST_CASE("Timeouts that would blame the peer for what is normal are refused") {
    CHECK(Timeouts{}.check());
    const auto is_refused = [](Timeouts timeouts) { return !timeouts.check(); };
    CHECK(is_refused({.beat = milliseconds(0)}));
    CHECK(is_refused({.beat = milliseconds(101)}));
    CHECK(is_refused({.suspect = milliseconds(99)}));
    CHECK(is_refused({.dead = milliseconds(249)}));
    CHECK(is_refused({.own_gap = milliseconds(301)}));
    CHECK(is_refused({.own_gap = milliseconds(99)}));
    CHECK(is_refused({.dead = std::chrono::hours(2)}));
}

TEST_CASE("The timeouts that go with any death that may be configured can be used") {
    CHECK(Timeouts::of(milliseconds(400)) == Timeouts{});
    for (const int dead : {200, 201, 250, 300, 400, 1000, 60'000}) {
        CAPTURE(dead);
        CHECK(Timeouts::of(milliseconds(dead)).dead == milliseconds(dead));
        CHECK(Timeouts::of(milliseconds(dead)).check());
    }
}

TEST_CASE("A verdict is told in one sentence") {
    CHECK(describe(verdict::Dead{{{kFirst, milliseconds(400)}, {kSecond, milliseconds(412)}}}) ==
          "the peer is silent on path 0 for 400 ms, on path 1 for 412 ms: dead");
    CHECK(describe(verdict::Stopped{milliseconds(250)}) ==
          "this side was stopped for 250 ms: the peer gets its full time");
}

}  // namespace
}  // namespace ftvmm::heartbeat
