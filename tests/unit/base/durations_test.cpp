#include "base/durations.h"

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("A percentile is at most an eighth above the value that it stands for") {
    for (const int most : {1, 7, 8, 9, 100, 5000, 123456, 90'000'000}) {
        Durations times;
        for (int i = 1; i <= 100; ++i)
            times.add(microseconds(1) * most * i / 100);
        CHECK(times.count() == 100);
        CHECK(times.most() == microseconds(most));
        for (const unsigned percent : {1U, 50U, 99U, 100U}) {
            const auto exact = microseconds(1) * most * percent / 100;
            const auto found = times.percentile(percent);
            INFO(most << " us, " << percent << " percent: " << found.count() << " ns");
            CHECK(found >= exact);
            CHECK(found <= exact * 9 / 8 + microseconds(1));
        }
    }
    CHECK(Durations().percentile(99) == Durations::Duration(0));
}

TEST_CASE("One early value moves no percentile, and a late one is the most") {
    Durations times;
    for (int i = 0; i < 1000; ++i)
        times.add(milliseconds(2));
    times.add(seconds(9));
    times.add(-seconds(1));
    CHECK(times.percentile(99) < milliseconds(3));
    CHECK(times.most() == seconds(9));
}

TEST_CASE("All that was added is in the sum, and no time is too long") {
    Durations times;
    times.add(std::chrono::nanoseconds(999));
    times.add(microseconds(1));
    times.add(std::chrono::hours(10'000));
    CHECK(times.count() == 3);
    CHECK(times.sum() == std::chrono::hours(10'000) + std::chrono::nanoseconds(1999));
    CHECK(times.percentile(50) <= microseconds(2));
    CHECK(times.percentile(100) == std::chrono::hours(10'000));
}

}  // namespace
}  // namespace ftvmm
