#include "heartbeat/beat_session.h"

#include <catch2/catch.hpp>

#include "pair_of_sessions.h"

namespace ftvmm::heartbeat {
namespace {

using namespace testing;

Instant at(int ms) {
    return Instant(std::chrono::milliseconds(ms));
}

struct Pair {
    BeatSession first{some_identity(), first_keys()};
    BeatSession second{some_identity(), second_keys()};
};

TEST_CASE("A number is taken once, in any order, as far back as the window reaches") {
    ReplayWindow window;
    CHECK(!window.take(BeatNumber(1)));
    CHECK(window.take(BeatNumber(1)) == Refusal::kRepeated);
    CHECK(!window.take(BeatNumber(200)));
    CHECK(window.take(BeatNumber(200 - ReplayWindow::kSize)) == Refusal::kOld);
    CHECK(!window.take(BeatNumber(201 - ReplayWindow::kSize)));
    CHECK(window.take(BeatNumber(201 - ReplayWindow::kSize)) == Refusal::kRepeated);
    CHECK(!window.take(BeatNumber(199)));
    CHECK(window.take(BeatNumber(199)) == Refusal::kRepeated);
    CHECK(!window.take(BeatNumber(~std::uint64_t{0})));
    CHECK(window.take(BeatNumber(200)) == Refusal::kOld);
    CHECK(window.newest() == BeatNumber(~std::uint64_t{0}));
}

TEST_CASE("An answer proves what it answers, not when it came") {
    Pair pair;
    const auto question = pair.first.next(Role::kPrimary, at(100));
    CHECK(!pair.second.promised_at());
    REQUIRE(pair.second.take(question));
    const auto answer = pair.second.next(Role::kSecondary, at(7000));
    CHECK(pair.second.promised_at() == at(7000));
    (void)pair.first.next(Role::kPrimary, at(150));
    CHECK(!pair.first.answered_from());
    REQUIRE(pair.first.take(answer));
    CHECK(pair.first.answered_from() == at(100));
}

TEST_CASE("A beat that answers nothing promises nothing and proves nothing") {
    Pair pair;
    (void)pair.first.next(Role::kPrimary, at(100));
    const auto beat = pair.second.next(Role::kSecondary, at(0));
    CHECK(!pair.second.promised_at());
    REQUIRE(pair.first.take(beat));
    CHECK(!pair.first.answered_from());
}

TEST_CASE("Who is going live answers nothing, until it is a Secondary again") {
    Pair pair;
    REQUIRE(pair.second.take(pair.first.next(Role::kPrimary, at(100))));
    REQUIRE(pair.first.take(pair.second.next(Role::kGoingLive, at(7000))));
    CHECK(!pair.second.promised_at());
    CHECK(!pair.first.answered_from());
    REQUIRE(pair.first.take(pair.second.next(Role::kSecondary, at(7050))));
    CHECK(pair.second.promised_at() == at(7050));
    CHECK(pair.first.answered_from() == at(100));
}

TEST_CASE("An older answer that comes later takes nothing back") {
    Pair pair;
    REQUIRE(pair.second.take(pair.first.next(Role::kPrimary, at(100))));
    const auto older = pair.second.next(Role::kSecondary, at(0));
    REQUIRE(pair.second.take(pair.first.next(Role::kPrimary, at(150))));
    const auto newer = pair.second.next(Role::kSecondary, at(50));
    REQUIRE(pair.first.take(newer));
    REQUIRE(pair.first.take(older));
    CHECK(pair.first.answered_from() == at(150));
}

TEST_CASE("An answer to a beat that is long forgotten proves nothing") {
    Pair pair;
    REQUIRE(pair.second.take(pair.first.next(Role::kPrimary, at(100))));
    const auto answer = pair.second.next(Role::kSecondary, at(0));
    for (std::size_t i = 0; i < BeatSession::kRemembered; ++i)
        (void)pair.first.next(Role::kPrimary, at(200));
    REQUIRE(pair.first.take(answer));
    CHECK(!pair.first.answered_from());
}

TEST_CASE("Only the peer's beats of this VM and generation are taken, each once") {
    Pair pair;
    const auto beat = pair.second.next(Role::kSecondary, at(0));
    CHECK(pair.second.take(beat).error() == Refusal::kForged);  // Thrown back.
    REQUIRE(pair.first.take(beat));
    CHECK(pair.first.take(beat).error() == Refusal::kRepeated);

    auto identity = some_identity();
    identity.generation = Generation(8);
    CHECK(
        pair.first.take(BeatSession(identity, second_keys()).next(Role::kPrimary, at(0))).error() ==
        Refusal::kGeneration);
    identity = some_identity();
    identity.vm.back() ^= 1;
    CHECK(
        pair.first.take(BeatSession(identity, second_keys()).next(Role::kPrimary, at(0))).error() ==
        Refusal::kVm);

    Beat unsent;
    unsent.vm = some_identity().vm;
    unsent.generation = some_identity().generation;
    unsent.number = BeatNumber(2);
    unsent.echo = BeatNumber(1);
    const auto liar = encode_beat(unsent, second_keys().to_peer);
    CHECK(pair.first.take(liar).error() == Refusal::kUnsent);
    // What was refused for what it says has not used up its number.
    (void)pair.first.next(Role::kPrimary, at(0));
    CHECK(pair.first.take(liar));
}

}  // namespace
}  // namespace ftvmm::heartbeat
