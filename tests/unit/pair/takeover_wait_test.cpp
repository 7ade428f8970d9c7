#include "pair/takeover_wait.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using std::chrono::milliseconds;

Instant at_ms(int ms) {
    return Instant(milliseconds(ms));
}

// Lost at 1000, and the last promise was made at `promised_ms`.
TakeoverWait wait_behind(int promised_ms) {
    return {
        .began = at_ms(1000), .promised_at = at_ms(promised_ms), .dead_after = milliseconds(400)};
}

}  // namespace

TEST_CASE("A promise is kept to its end, though the Primary be dead or its process gone") {
    const TakeoverWait wait = wait_behind(980);
    CHECK_FALSE(wait.is_over(at_ms(1000), false));
    CHECK_FALSE(wait.is_over(at_ms(1379), false));
    CHECK(wait.is_over(at_ms(1380), false));
}

TEST_CASE("A promise that has ended is not waited for again") {
    CHECK(wait_behind(600).is_over(at_ms(1000), false));
}

TEST_CASE("A Primary that beats still is left time to go on, and not for ever") {
    const TakeoverWait wait = wait_behind(980);
    CHECK_FALSE(wait.is_over(at_ms(1380), true));
    CHECK_FALSE(wait.is_over(at_ms(2999), true));
    CHECK(wait.is_over(at_ms(2999), false));
    CHECK(wait.is_over(at_ms(3000), true));
}

TEST_CASE("However long a Primary beats, it shortens no promise") {
    TakeoverWait wait = wait_behind(980);
    wait.promised_at = at_ms(2900);
    CHECK_FALSE(wait.is_over(at_ms(3299), true));
    CHECK(wait.is_over(at_ms(3300), true));
}

TEST_CASE("A Primary that has handed over is not waited for") {
    TakeoverWait wait = wait_behind(980);
    wait.is_freed = true;
    CHECK(wait.is_over(at_ms(1000), true));
}

}  // namespace ftvmm::pair
