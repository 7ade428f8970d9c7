#include "heartbeat/path_watch.h"

#include <array>

#include <catch2/catch.hpp>

namespace ftvmm::heartbeat {
namespace {

using std::chrono::milliseconds;

constexpr PathId kFirst(0);
constexpr PathId kSecond(1);
constexpr milliseconds kSilentAfter{800};

std::vector<PathChange> look(PathWatch& watch, int first_ms, int second_ms) {
    const std::array<PathSilence, 2> silences{
        {{kFirst, milliseconds(first_ms)}, {kSecond, milliseconds(second_ms)}}};
    return watch.look(silences);
}

using Changes = std::vector<PathChange>;

TEST_CASE("A path is told to be silent once, and once that it is heard again") {
    PathWatch watch(2, kSilentAfter);
    watch.heard(kFirst);
    watch.heard(kSecond);
    CHECK(look(watch, 20, 30).empty());
    CHECK(look(watch, 799, 30).empty());
    CHECK(look(watch, 800, 30) == Changes{{kFirst, true, milliseconds(800)}});
    CHECK(look(watch, 850, 30).empty());
    watch.heard(kFirst);
    CHECK(look(watch, 10, 30) == Changes{{kFirst, false, {}}});
    CHECK(look(watch, 60, 30).empty());
}

TEST_CASE("A path that was never heard is told to be silent") {
    PathWatch watch(2, kSilentAfter);
    CHECK(look(watch, 10, 10).empty());
    watch.heard(kSecond);
    CHECK(look(watch, 810, 0) == Changes{{kFirst, true, milliseconds(810)}});
}

TEST_CASE("A silence that begins anew, as this host was stopped, is no sign of life") {
    PathWatch watch(2, kSilentAfter);
    REQUIRE(look(watch, 900, 900).size() == 2);
    CHECK(look(watch, 0, 0).empty());
    CHECK(look(watch, 900, 900).empty());
    watch.heard(kSecond);
    CHECK(look(watch, 950, 0) == Changes{{kSecond, false, {}}});
}

}  // namespace
}  // namespace ftvmm::heartbeat
