#include "vmm/machine/transmit_hold.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"

namespace ftvmm::machine {
namespace {

using dev::at_ns;

constexpr GuestTime kStart = at_ns(5'000'000);
constexpr GuestTime kDue = kStart + TransmitHold::kLongest;
constexpr std::chrono::nanoseconds kMoment{1};

TEST_CASE("A frame that was sent is told after a while, and once") {
    TransmitHold hold;
    CHECK_FALSE(hold.deadline());
    CHECK_FALSE(hold.take_due(kDue));
    hold.add(60, kStart);
    hold.add(60, kStart + 100 * kMoment);  // The second does not put the first off.
    CHECK(hold.deadline() == kDue);
    CHECK_FALSE(hold.take_due(kDue - kMoment));
    CHECK(hold.take_due(kDue));
    CHECK_FALSE(hold.deadline());
    CHECK_FALSE(hold.take_due(kDue));
}

TEST_CASE("Many frames, or large ones, are told at once") {
    TransmitHold hold;
    for (std::uint32_t i = 1; i < TransmitHold::kMostFrames; ++i)
        hold.add(60, kStart);
    CHECK_FALSE(hold.take_due(kStart));
    hold.add(60, kStart);
    CHECK(hold.take_due(kStart));
    hold.add(TransmitHold::kMostBytes - 1, kStart);
    CHECK_FALSE(hold.take_due(kStart));
    hold.add(1, kStart);
    CHECK(hold.take_due(kStart));
}

TEST_CASE("A restored hold goes on as the first one, and is not restored from nonsense") {
    TransmitHold hold;
    hold.add(60, kStart);
    const auto restored = TransmitHold::from_state(hold.state());
    REQUIRE(restored);
    CHECK(restored->deadline() == kDue);
    const auto refused = [](std::uint32_t frames, std::uint64_t bytes, std::int64_t since_ns) {
        return !TransmitHold::from_state({frames, bytes, since_ns});
    };
    CHECK_FALSE(refused(0, 0, 0));
    CHECK(refused(0, 60, 0));
    CHECK(refused(0, 0, 1));
    CHECK(refused(1, 0, 1));
    CHECK(refused(TransmitHold::kMostFrames, 60, 1));
    CHECK(refused(1, TransmitHold::kMostBytes, 1));
    CHECK(refused(1, 60, -1));
    CHECK(refused(1, 60, INT64_MAX));
}

}  // namespace
}  // namespace ftvmm::machine
