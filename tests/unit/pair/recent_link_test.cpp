// A link's figures over the last seconds.
#include "pair/recent_link.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Looks each 50 ms, for so long.
struct Looks {
    void run(BootClock::duration time, BootClock::duration lag, std::uint64_t bytes_per_s) {
        for (const Instant end = now + time; now < end;) {
            now += milliseconds(50);
            bytes += bytes_per_s / 20;
            link.look(now, lag, bytes);
        }
    }
    Instant now{seconds(1000)};
    std::uint64_t bytes = 0;
    RecentLink link;
};

double ms(BootClock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

TEST_CASE("What never changes is its own average, from the second look on") {
    Looks looks;
    looks.run(milliseconds(100), milliseconds(40), 1'000'000);
    CHECK(ms(looks.link.lag()) == Approx(40));
    CHECK(looks.link.log_bits_per_s() == Approx(8e6));
    looks.run(seconds(60), milliseconds(40), 1'000'000);
    CHECK(ms(looks.link.lag()) == Approx(40));
    CHECK(looks.link.log_bits_per_s() == Approx(8e6));
}

TEST_CASE("A change takes the span to show by two thirds, and then all of it") {
    Looks looks;
    looks.run(seconds(60), milliseconds(0), 0);
    looks.run(RecentLink::kSpan, milliseconds(100), 1'000'000);
    CHECK(ms(looks.link.lag()) == Approx(63).margin(1));
    CHECK(looks.link.log_bits_per_s() == Approx(8e6 * 0.63).margin(1e5));
    looks.run(6 * RecentLink::kSpan, milliseconds(100), 1'000'000);
    CHECK(ms(looks.link.lag()) == Approx(100).margin(1));
}

TEST_CASE("A look behind a long pause stands for all of it") {
    Looks looks;
    looks.run(seconds(10), milliseconds(0), 0);
    looks.link.look(looks.now + seconds(20), milliseconds(70), looks.bytes + 20'000'000);
    CHECK(ms(looks.link.lag()) == Approx(70));
    CHECK(looks.link.log_bits_per_s() == Approx(8e6));
}

TEST_CASE("Two looks at the same time are one") {
    RecentLink link;
    for (int i = 0; i < 3; ++i)
        link.look(Instant(seconds(1)), milliseconds(5), 1000);
    CHECK(ms(link.lag()) == Approx(5));
    CHECK(link.log_bits_per_s() == 0);
}

}  // namespace ftvmm::pair
