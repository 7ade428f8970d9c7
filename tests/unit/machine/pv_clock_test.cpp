#include "vmm/machine/pv_clock.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::machine {
namespace {

using dev::at_ns;

constexpr Gpa kPageAt{0x2000};
constexpr Gpa kWallAt{0x2100};

struct Guest {
    GuestMemory memory = *GuestMemory::create(1 << 20);
    virtio::Dma dma{memory};
    PvClock clock;

    template <class T>
    T at(std::size_t offset) const {
        return pci::load_at<T>(memory.find(kPageAt, 32), offset);
    }
    // As Linux reads its clock (arch/x86/include/asm/pvclock.h) with any counter: the time in ns.
    std::uint64_t read(std::uint64_t counter) const {
        const auto shift = static_cast<std::int8_t>(at<std::uint8_t>(28));
        std::uint64_t delta = counter - at<std::uint64_t>(8);
        delta = shift < 0 ? delta >> -shift : delta << shift;
        __extension__ using Wide = unsigned __int128;
        const auto scaled =
            static_cast<std::uint64_t>((Wide{delta} * at<std::uint32_t>(24)) >> 32U);
        return at<std::uint64_t>(16) + scaled;
    }
};

TEST_CASE("What the guest reads is the last time it was given, whatever its counter says") {
    Guest guest;
    REQUIRE(
        guest.clock.write_msr(guest.dma, PvClock::kSystemTimeMsr, kPageAt.value() | 1, at_ns(5)));
    CHECK(guest.clock.is_on());
    for (const std::uint64_t counter : {std::uint64_t{0}, std::uint64_t{1} << 40U, UINT64_MAX}) {
        CHECK(guest.read(counter) == 5);
    }
    guest.clock.show(guest.dma, at_ns(1234567890));
    CHECK(guest.read(77) == 1234567890);
    // Linux divides by it.
    CHECK(guest.at<std::uint32_t>(24) != 0);
    // Without this flag the vDSO makes system calls.
    CHECK(guest.at<std::uint8_t>(29) == 1);
}

TEST_CASE("Each write of the page has a version of its own, even and never 0") {
    Guest guest;
    PvClock::State state;
    state.system_time_msr = kPageAt.value() | 1;
    state.version = UINT32_MAX - 3;
    guest.clock = *PvClock::from_state(state, guest.dma);
    std::uint32_t before = state.version;
    for (int i = 0; i < 4; ++i) {
        guest.clock.show(guest.dma, at_ns(i));
        const auto version = guest.at<std::uint32_t>(0);
        CHECK(version % 2 == 0);
        CHECK(version != 0);
        CHECK(version != before);
        before = version;
    }
}

TEST_CASE("The time of day is that of guest time zero") {
    Guest guest;
    using std::chrono::nanoseconds;
    guest.clock.set_wall_clock(
        std::chrono::sys_time<nanoseconds>(nanoseconds(1'700'000'002'500'000'000)),
        at_ns(2'000'000'000));
    REQUIRE(guest.clock.write_msr(guest.dma, PvClock::kWallClockMsr, kWallAt.value(), at_ns(9)));
    const auto bytes = guest.memory.find(kWallAt, 12);
    CHECK(pci::load_at<std::uint32_t>(bytes, 0) % 2 == 0);
    CHECK(pci::load_at<std::uint32_t>(bytes, 4) == 1'700'000'000);
    CHECK(pci::load_at<std::uint32_t>(bytes, 8) == 500'000'000);
}

TEST_CASE("Ticks start with the reading of the time of day, once, and if it was just now") {
    Guest guest;
    const auto read_at = [&](std::int64_t ns) {
        REQUIRE(
            guest.clock.write_msr(guest.dma, PvClock::kWallClockMsr, kWallAt.value(), at_ns(ns)));
    };
    CHECK_FALSE(guest.clock.take_start_of_ticks(at_ns(5)));
    read_at(1000);
    CHECK(guest.clock.take_start_of_ticks(at_ns(60'000'000)) == at_ns(1000));
    CHECK_FALSE(guest.clock.take_start_of_ticks(at_ns(60'000'000)));
    read_at(2000);
    CHECK_FALSE(guest.clock.take_start_of_ticks(at_ns(1'000'002'001)));
}

TEST_CASE("A clock that is off writes nothing, and one outside of memory is refused") {
    Guest guest;
    CHECK_FALSE(guest.clock.write_msr(guest.dma, PvClock::kSystemTimeMsr, (1 << 20) | 1, at_ns(0)));
    CHECK_FALSE(guest.clock.write_msr(guest.dma, PvClock::kWallClockMsr, (1 << 20) - 4, at_ns(0)));
    CHECK_FALSE(guest.clock.is_on());
    REQUIRE(guest.clock.write_msr(guest.dma, PvClock::kSystemTimeMsr, kPageAt.value(), at_ns(0)));
    guest.clock.show(guest.dma, at_ns(1));
    CHECK(guest.at<std::uint64_t>(16) == 0);
    CHECK(guest.dma.take_written_pages().empty());
}

}  // namespace
}  // namespace ftvmm::machine
