#include <chrono>
#include <cstdint>

#include <catch2/catch.hpp>

#include "../virtio/driver.h"
#include "vmm/dev/ticks.h"
#include "vmm/machine/platform.h"

namespace ftvmm::machine {
namespace {

using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
using virtio::testing::peek;

constexpr Gpa kWallClock{0x1000};

// Seconds since 1970 at guest time zero, as the clock's page has them.
std::uint32_t wall_clock_of(const GuestMemory& memory, Platform& platform) {
    REQUIRE(platform.write_msr(PvClock::kWallClockMsr, kWallClock.value()));
    return peek<std::uint32_t>(memory, kWallClock + 4);
}

TEST_CASE("The paravirtual clock says when guest time began") {
    const auto memory = virtio::testing::make_memory(0x2000);
    Platform platform({}, memory);
    platform.apply(replay::input::Time{dev::at_ns(5 * dev::kNsPerSecond)});
    platform.apply(replay::input::WallClock{WallTime(std::chrono::seconds(1'000'005))});
    CHECK(wall_clock_of(memory, platform) == 1'000'000);
}

// Found by a fuzzer: the subtraction left its type's range.
TEST_CASE("A host's clock before 1970 is 1970, at any guest time") {
    const auto memory = virtio::testing::make_memory(0x2000);
    for (const std::int64_t now : {std::int64_t{0}, dev::kMaxGuestNs}) {
        Platform platform({}, memory);
        platform.apply(replay::input::Time{dev::at_ns(now)});
        platform.apply(replay::input::WallClock{WallTime::min()});
        const auto state = platform.state();
        CHECK(state.pv_clock.wall_ns == -now);
        CHECK(state.rtc.wall_seconds == 0);
    }
}

}  // namespace
}  // namespace ftvmm::machine
