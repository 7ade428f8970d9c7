// When a clone ends its rounds, and how slow its guest is made for that.
#include "pair/clone_pace.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using Next = ClonePace::Next;

constexpr std::uint64_t kMemory = std::uint64_t{1} << 20U;

// A guest that writes to `writes` pages at full speed while a page goes over, of `used` pages.
struct Guest {
    double writes = 0;
    std::uint64_t used = kMemory;

    [[nodiscard]] std::uint64_t left(std::uint64_t sent, std::uint32_t percent) const {
        const double written = static_cast<double>(sent) * writes * percent / 100;
        return std::min(used, static_cast<std::uint64_t>(written));
    }
};

struct Course {
    Next end{};
    std::uint32_t rounds = 0;
    std::uint64_t left = 0;
    std::vector<std::uint32_t> duty;  // Of each round.
};

Course clone(const Guest& guest) {
    ClonePace pace;
    Course course;
    course.left = kMemory;
    do {
        course.duty.push_back(pace.duty_percent());
        course.left = guest.left(course.left, pace.duty_percent());
        course.end = pace.next(course.left);
    } while (course.end == Next::kRound);
    course.rounds = pace.rounds();
    return course;
}

}  // namespace

TEST_CASE(
    "A guest that writes little is paused as soon as little is left, at full speed until then") {
    ClonePace idle;
    CHECK(idle.next(ClonePace::kFewPages) == Next::kPause);
    CHECK(idle.duty_percent() == 100);
    ClonePace nearly_idle;
    CHECK(nearly_idle.next(ClonePace::kFewPages + 1) == Next::kRound);
    // A fifth of what was sent is left each time: 2^20 pages are 335 after five rounds.
    const Course course = clone({.writes = 0.2});
    CHECK(course.end == Next::kPause);
    CHECK(course.duty == std::vector<std::uint32_t>(5, 100));
}

TEST_CASE("A guest that writes faster than the link carries is slowed down until little is left") {
    const Course course = clone({.writes = 1.5});
    CHECK(course.end == Next::kPause);
    CHECK(course.left <= ClonePace::kFewPages);
    const std::vector<std::uint32_t> begins{100, 100, 100, 100, 100, 100, 100, 100, 90, 80, 70};
    REQUIRE(course.duty.size() > begins.size());
    CHECK(std::equal(begins.begin(), begins.end(), course.duty.begin()));
    CHECK(course.rounds < ClonePace::kMostRounds);
}

TEST_CASE("A guest is never made slower than a fifth") {
    const Course course = clone({.writes = 10});
    CHECK(course.duty.at(14) == 30);
    CHECK(std::all_of(course.duty.begin() + 15, course.duty.end(),
                      [](std::uint32_t percent) { return percent == 20; }));
}

TEST_CASE("A guest that writes to the same pages all the time is paused once slowing is in vain") {
    const Course course = clone({.writes = 1000, .used = ClonePace::kMostPages});
    CHECK(course.end == Next::kPause);
    CHECK(course.duty.back() == ClonePace::kLeastPercent);
    CHECK(course.rounds == 16);
    // Not one that leaves less each time, be it one page.
    ClonePace gains;
    for (std::uint64_t round = 0; round < 20; ++round)
        CHECK(gains.next(10'000 - round) == Next::kRound);
    CHECK(gains.next(10'000 - 19) == Next::kPause);
}

TEST_CASE("A clone that would end in a long pause is given up after 24 rounds") {
    const Course busy = clone({.writes = 1000, .used = ClonePace::kMostPages + 1});
    CHECK(busy.end == Next::kGiveUp);
    CHECK(busy.rounds == 24);
    CHECK(busy.left == ClonePace::kMostPages + 1);
    // One that gains, and has come far enough for a pause by then, is not.
    ClonePace gains;
    for (std::uint64_t round = 1; round < 24; ++round)
        REQUIRE(gains.next(100'000 - 2000 * round) == Next::kRound);
    CHECK(gains.next(100'000 - 2000 * 24) == Next::kPause);
}

}  // namespace ftvmm::pair
