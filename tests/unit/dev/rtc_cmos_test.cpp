#include "vmm/dev/rtc_cmos.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr GuestTime kStart = GuestTime(milliseconds(2500));
// 2026-11-23 (a Monday) 22:59:58.
constexpr sys_seconds kWall = sys_seconds(seconds(1'795'474'798));

RtcCmos set_clock() {
    RtcCmos rtc;
    rtc.set_wall_clock(kWall, kStart);
    return rtc;
}

unsigned get(RtcCmos& rtc, std::uint8_t index, GuestTime now) {
    rtc.write(0x70, index | 0x80, now);  // With NMIs masked.
    return rtc.read(0x71, now);
}

void put(RtcCmos& rtc, std::uint8_t index, std::uint8_t value, GuestTime now) {
    rtc.write(0x70, index, now);
    rtc.write(0x71, value, now);
}

TEST_CASE("Linux reads the wall clock in BCD, and it goes on with guest time") {
    auto rtc = set_clock();
    CHECK(get(rtc, 0x0d, kStart) == 0x80);
    CHECK(get(rtc, 0x00, kStart) == 0x58);
    CHECK(get(rtc, 0x02, kStart) == 0x59);
    CHECK(get(rtc, 0x04, kStart) == 0x22);
    CHECK(get(rtc, 0x06, kStart) == 2);
    CHECK(get(rtc, 0x07, kStart) == 0x23);
    CHECK(get(rtc, 0x08, kStart) == 0x11);
    CHECK(get(rtc, 0x09, kStart) == 0x26);
    CHECK(get(rtc, 0x32, kStart) == 0x20);
    const GuestTime later = kStart + seconds(2);
    CHECK(get(rtc, 0x00, later) == 0x00);
    CHECK(get(rtc, 0x04, later) == 0x23);
}

TEST_CASE("The earliest time that a host can tell is 1970") {
    RtcCmos rtc;
    rtc.set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds>::min(), kStart);
    CHECK(rtc.state().wall_seconds == 0);
    CHECK(rtc.state().second_start_ns == ns_of(kStart));
    CHECK(get(rtc, 0x09, kStart) == 0x70);
}

TEST_CASE("UIP is set before the second changes and never while it does not") {
    auto rtc = set_clock();
    const GuestTime next = kStart + seconds(1);
    CHECK((get(rtc, 0x0a, next - microseconds(245)) & 0x80) == 0);
    CHECK((get(rtc, 0x0a, next - microseconds(200)) & 0x80) != 0);
    CHECK(get(rtc, 0x00, next - microseconds(200)) == 0x58);
    CHECK((get(rtc, 0x0a, next) & 0x80) == 0);
    CHECK(get(rtc, 0x00, next) == 0x59);
}

TEST_CASE("Binary and twelve-hour modes show the same time") {
    auto rtc = set_clock();
    put(rtc, 0x0b, 0x06, kStart);
    CHECK(get(rtc, 0x00, kStart) == 58);
    CHECK(get(rtc, 0x04, kStart) == 22);
    put(rtc, 0x0b, 0x00, kStart);
    CHECK(get(rtc, 0x04, kStart) == 0x90);
    CHECK(get(rtc, 0x04, kStart + seconds(3602)) == 0x92 - 0x80);  // Midnight.
}

TEST_CASE("Setting the clock as Linux does starts it half a second before the next second") {
    auto rtc = set_clock();
    put(rtc, 0x0b, 0x82, kStart);
    put(rtc, 0x0a, 0x76, kStart);
    put(rtc, 0x09, 0x24, kStart);
    put(rtc, 0x08, 0x02, kStart);
    put(rtc, 0x07, 0x29, kStart);
    put(rtc, 0x04, 0x23, kStart);
    put(rtc, 0x02, 0x59, kStart);
    put(rtc, 0x00, 0x59, kStart);
    const GuestTime go = kStart + seconds(5);
    CHECK(get(rtc, 0x00, go) == 0x59);
    put(rtc, 0x0b, 0x02, go);
    put(rtc, 0x0a, 0x26, go);
    CHECK(get(rtc, 0x07, go + milliseconds(499)) == 0x29);
    CHECK(get(rtc, 0x07, go + milliseconds(500)) == 0x01);
    CHECK(get(rtc, 0x08, go + milliseconds(500)) == 0x03);
}

TEST_CASE("The update interrupt comes with the second and stays until register C is read") {
    auto rtc = set_clock();
    CHECK_FALSE(rtc.next_deadline());
    // Linux flushes old flags before it enables an interrupt.
    (void)get(rtc, 0x0c, kStart);
    put(rtc, 0x0b, 0x12, kStart);
    const GuestTime next = kStart + seconds(1);
    CHECK(rtc.next_deadline() == next);
    rtc.advance(next);
    CHECK(rtc.irq_level());
    CHECK_FALSE(rtc.next_deadline());
    CHECK((get(rtc, 0x0c, next) & 0xb0) == 0x90);
    CHECK_FALSE(rtc.irq_level());
    CHECK(get(rtc, 0x0c, next) == 0);
    CHECK(rtc.next_deadline() == next + seconds(1));
}

TEST_CASE("The alarm comes at its time, next day if it has passed, and not before") {
    auto rtc = set_clock();
    put(rtc, 0x05, 0x23, kStart);
    put(rtc, 0x03, 0x00, kStart);
    put(rtc, 0x01, 0x10, kStart);
    put(rtc, 0x0b, 0x22, kStart);
    const GuestTime alarm = kStart + seconds(12);
    CHECK(rtc.next_deadline() == alarm);
    rtc.advance(alarm - microseconds(1));
    CHECK_FALSE(rtc.irq_level());
    rtc.advance(alarm);
    CHECK(rtc.irq_level());
    CHECK((get(rtc, 0x0c, alarm) & 0xa0) == 0xa0);
    CHECK(rtc.next_deadline() == alarm + seconds(86'400));
    put(rtc, 0x05, 0xff, alarm);  // Every hour.
    CHECK(rtc.next_deadline() == alarm + seconds(3600));
    put(rtc, 0x01, 0x77, alarm);  // No such second.
    CHECK_FALSE(rtc.next_deadline());
}

TEST_CASE("The periodic interrupt keeps to its rate without drift") {
    auto rtc = set_clock();
    (void)get(rtc, 0x0c, kStart);
    put(rtc, 0x0b, 0x42, kStart);  // 1024 Hz.
    GuestTime now = kStart;
    for (int tick = 0; tick < 1024; ++tick) {
        const auto next = rtc.next_deadline();
        REQUIRE(next);
        REQUIRE(*next > now);
        now = *next;
        rtc.advance(now);
        REQUIRE(rtc.irq_level());
        REQUIRE((get(rtc, 0x0c, now) & 0xc0) == 0xc0);
    }
    CHECK(now == kStart + seconds(1));
}

TEST_CASE("A restored clock goes on as the first one does, whatever was done to it") {
    auto rtc = set_clock();
    std::uint32_t seed = 1;
    GuestTime now = kStart;
    for (int step = 0; step < 40'000; ++step) {
        seed = seed * 1664525 + 1013904223;
        now += microseconds(seed >> 12);
        put(rtc, static_cast<std::uint8_t>(seed >> 24 & 0x3f), static_cast<std::uint8_t>(seed >> 8),
            now);
        auto restored = RtcCmos::from_state(rtc.state());
        REQUIRE(restored);
        REQUIRE(restored->next_deadline() == rtc.next_deadline());
        if (const auto deadline = rtc.next_deadline(); deadline && step % 8 == 0) {
            REQUIRE(*deadline > now);
            now = *deadline;
            rtc.advance(now);
            REQUIRE(rtc.irq_level());
        }
        for (std::uint8_t index = 0; index < 0x40; index += 3) {
            (void)restored->read(0x70, now);
            REQUIRE(get(*restored, index, now) == get(rtc, index, now));
        }
        REQUIRE(restored->state() == rtc.state());
    }
}

TEST_CASE("A clock is not restored from nonsense") {
    const auto refused = [](auto change) {
        RtcCmos::State state;
        change(state);
        return !RtcCmos::from_state(state);
    };
    CHECK_FALSE(refused([](auto&) {}));
    CHECK(refused([](auto& state) { state.index = 0x80; }));
    CHECK(refused([](auto& state) { state.bytes[0x0a] = 0x80; }));
    CHECK(refused([](auto& state) { state.bytes[0x0c] = 0x80; }));
    CHECK(refused([](auto& state) { state.bytes[0x0d] = 0; }));
    CHECK(refused([](auto& state) { state.wall_seconds = -1; }));
    CHECK(refused([](auto& state) { state.second_start_ns = INT64_MAX; }));
    CHECK(refused([](auto& state) { state.advanced_ns = -1; }));
}

}  // namespace
}  // namespace ftvmm::dev
