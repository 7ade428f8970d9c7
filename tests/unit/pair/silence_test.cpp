#include "pair/silence.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

Instant at_ms(std::int64_t ms) {
    return Instant(std::chrono::milliseconds(ms));
}

TEST_CASE("A host is dead once it has been silent for so long, by looks that are not far apart") {
    Silence silence(std::chrono::milliseconds(400));
    for (std::int64_t ms = 1000; ms < 1400; ms += 10)
        CHECK_FALSE(silence.look(7, at_ms(ms)));
    CHECK(silence.look(7, at_ms(1400)));
}

TEST_CASE("Each byte ends the silence") {
    Silence silence(std::chrono::milliseconds(400));
    for (std::int64_t ms = 0; ms <= 4000; ms += 10)
        CHECK_FALSE(silence.look(static_cast<std::uint64_t>(ms / 390), at_ms(ms)));
}

TEST_CASE("A host that stood still itself holds nothing against the other") {
    Silence silence(std::chrono::milliseconds(400));
    CHECK_FALSE(silence.look(7, at_ms(0)));
    CHECK_FALSE(silence.look(7, at_ms(30'000)));
    for (std::int64_t ms = 30'010; ms < 30'400; ms += 10)
        CHECK_FALSE(silence.look(7, at_ms(ms)));
    CHECK(silence.look(7, at_ms(30'400)));
}

TEST_CASE("Without a time nobody is dead") {
    Silence silence(BootClock::duration::zero());
    for (std::int64_t ms = 0; ms <= 4000; ms += 100)
        CHECK_FALSE(silence.look(7, at_ms(ms)));
}

}  // namespace
}  // namespace ftvmm::pair
