#include "vmm/dev/pit_8254.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

using std::chrono::nanoseconds;

// The guest time of tick `n` of the 8254; the tests start in the middle of a run.
GuestTime tick(std::uint64_t n) {
    return time_of_tick(1'000'000 + n, Pit8254::kHz);
}

void load(Pit8254& pit, std::uint16_t port, std::uint8_t control, unsigned count, GuestTime now) {
    pit.write(0x43, control, now);
    pit.write(port, static_cast<std::uint8_t>(count), now);
    pit.write(port, static_cast<std::uint8_t>(count >> 8), now);
}

unsigned read_both(Pit8254& pit, std::uint16_t port, GuestTime now) {
    const unsigned low = pit.read(port, now);
    return low | unsigned{pit.read(port, now)} << 8;
}

TEST_CASE("Linux's calibration sees OUT of channel 2 rise after its count in mode 0") {
    Pit8254 pit;
    const auto speaker = pit.read(0x61, tick(0));
    pit.write(0x61, static_cast<std::uint8_t>((speaker & ~0x02) | 0x01), tick(0));
    load(pit, 0x42, 0xb0, 59'659, tick(0));  // 50 ms.
    CHECK((pit.read(0x61, tick(0)) & 0x20) == 0);
    CHECK((pit.read(0x61, tick(59'658)) & 0x20) == 0);
    CHECK((pit.read(0x61, tick(59'659)) & 0x20) != 0);
    CHECK((pit.read(0x61, tick(900'000)) & 0x20) != 0);
    CHECK_FALSE(pit.advance(tick(900'000)));  // Channel 2 interrupts nobody.
}

TEST_CASE("The quick calibration sees channel 2 count down byte by byte") {
    Pit8254 pit;
    pit.write(0x61, 0x01, tick(0));
    load(pit, 0x42, 0xb0, 0xffff, tick(0));
    CHECK(read_both(pit, 0x42, tick(0x0fff)) == 0xf000);
    CHECK(read_both(pit, 0x42, tick(0x1000)) == 0xefff);
}

TEST_CASE("A low gate holds the count of mode 0") {
    Pit8254 pit;
    pit.write(0x61, 0x01, tick(0));
    load(pit, 0x42, 0xb0, 1000, tick(0));
    pit.write(0x61, 0x00, tick(400));
    CHECK(read_both(pit, 0x42, tick(5000)) == 600);
    pit.write(0x61, 0x01, tick(5000));
    CHECK((pit.read(0x61, tick(5599)) & 0x20) == 0);
    CHECK((pit.read(0x61, tick(5600)) & 0x20) != 0);
}

TEST_CASE("The periodic tick stays on its grid for days, and missed ticks are told one by one") {
    Pit8254 pit;
    CHECK_FALSE(pit.next_deadline());
    load(pit, 0x40, 0x34, 4772, tick(0));  // HZ=250.
    CHECK(pit.next_deadline() == tick(4772));
    CHECK_FALSE(pit.advance(tick(4772) - nanoseconds(1)));
    CHECK(pit.advance(tick(4772)));
    CHECK_FALSE(pit.advance(tick(4773)));
    CHECK(pit.next_deadline() == tick(2ULL * 4772));
    for (int missed = 0; missed < 9; ++missed)
        CHECK(pit.advance(tick(10ULL * 4772 + 5)));
    CHECK_FALSE(pit.advance(tick(10ULL * 4772 + 6)));
    CHECK(pit.next_deadline() == tick(11ULL * 4772));
    // What was missed in a stop of days is not all made up for.
    const GuestTime later = tick(4772ULL * 250 * 3600 * 48);
    for (std::uint64_t missed = 0; missed < Pit8254::kMostOwed; ++missed)
        REQUIRE(pit.advance(later));
    CHECK_FALSE(pit.advance(later));
    CHECK(pit.next_deadline() == tick(4772 * (250ULL * 3600 * 48 + 1)));
}

TEST_CASE("Ticks that wait are not lost by an access to another channel, and end with a new mode") {
    Pit8254 pit;
    load(pit, 0x40, 0x34, 1000, tick(0));
    load(pit, 0x42, 0xb0, 5000, tick(3500));
    pit.write(0x61, 0x01, tick(3500));
    CHECK(pit.advance(tick(3500)));
    pit.write(0x43, 0x30, tick(3600));
    CHECK(pit.advance(tick(3600)));
    CHECK_FALSE(pit.advance(tick(9000)));
}

TEST_CASE("Linux's one-shot in mode 4 rises once, one tick after its end") {
    Pit8254 pit;
    load(pit, 0x40, 0x38, 500, tick(0));
    CHECK(pit.next_deadline() == tick(501));
    CHECK(pit.advance(tick(501)));
    CHECK_FALSE(pit.next_deadline());
    CHECK_FALSE(pit.advance(tick(100'000)));
    pit.write(0x40, 0x10, tick(100'000));
    pit.write(0x40, 0x00, tick(100'000));
    CHECK(pit.next_deadline() == tick(100'017));
}

TEST_CASE("A rise that an access comes upon is still told") {
    Pit8254 pit;
    load(pit, 0x40, 0x30, 100, tick(0));
    pit.write(0x43, 0x34, tick(200));
    CHECK(pit.next_deadline() <= tick(200));
    CHECK(pit.advance(tick(200)));
    CHECK_FALSE(pit.next_deadline());
}

TEST_CASE("A latched count stands still until both of its bytes are read") {
    Pit8254 pit;
    load(pit, 0x40, 0x34, 0x8000, tick(0));
    pit.write(0x43, 0x00, tick(0x1234));
    pit.write(0x43, 0x00, tick(0x2000));
    CHECK(read_both(pit, 0x40, tick(0x3000)) == 0x8000 - 0x1234);
    CHECK(read_both(pit, 0x40, tick(0x3000)) == 0x5000);
}

TEST_CASE("Read-back gives the status first, then the count") {
    Pit8254 pit;
    pit.write(0x43, 0x36, tick(0));
    pit.write(0x43, 0xe2, tick(0));
    CHECK(pit.read(0x40, tick(0)) == 0xf6);  // OUT high, no count yet, both bytes, mode 3.
    pit.write(0x40, 0x10, tick(0));
    pit.write(0x40, 0x00, tick(0));
    pit.write(0x43, 0xc2, tick(9));
    CHECK(pit.read(0x40, tick(9)) == 0x36);
    CHECK(read_both(pit, 0x40, tick(11)) == 14);
}

TEST_CASE("Decimal counts read as decimal and end when they say") {
    Pit8254 pit;
    load(pit, 0x40, 0x31, 0x1000, tick(0));
    CHECK(read_both(pit, 0x40, tick(1)) == 0x0999);
    CHECK(pit.next_deadline() == tick(1000));
}

TEST_CASE("The refresh bit toggles every 18 ticks") {
    Pit8254 pit;
    const GuestTime start = time_of_tick(0, Pit8254::kHz);
    CHECK((pit.read(0x61, start) & 0x10) == 0);
    CHECK((pit.read(0x61, time_of_tick(18, Pit8254::kHz)) & 0x10) != 0);
    CHECK((pit.read(0x61, time_of_tick(36, Pit8254::kHz)) & 0x10) == 0);
}

TEST_CASE("A restored interval timer goes on as the first one does, whatever was done to it") {
    constexpr std::array<std::uint16_t, 5> kPorts = {0x40, 0x41, 0x42, 0x43, 0x61};
    Pit8254 pit;
    std::uint32_t seed = 1;
    std::uint64_t at = 0;
    for (int step = 0; step < 40'000; ++step) {
        seed = seed * 1664525 + 1013904223;
        at += seed >> 24;
        pit.write(kPorts.at((seed >> 16) % 5), static_cast<std::uint8_t>(seed >> 8), tick(at));
        auto restored = Pit8254::from_state(pit.state());
        REQUIRE(restored);
        REQUIRE(restored->next_deadline() == pit.next_deadline());
        for (const auto port : kPorts) {
            REQUIRE(restored->read(port, tick(at + 3)) == pit.read(port, tick(at + 3)));
        }
        if (const auto deadline = pit.next_deadline(); deadline && *deadline > tick(at)) {
            REQUIRE_FALSE(pit.advance(*deadline - nanoseconds(1)));
            REQUIRE(pit.advance(*deadline));
            REQUIRE(restored->advance(*deadline));
        }
        at += (seed >> 31) != 0 ? 70'000 : 0;
    }
    CHECK(pit.read(0x44, tick(at)) == 0xff);
}

TEST_CASE("An interval timer is not restored from nonsense") {
    const auto refused = [](auto change) {
        Pit8254::State state;
        change(state, state.channels[0]);
        return !Pit8254::from_state(state);
    };
    CHECK_FALSE(refused([](auto&, auto&) {}));
    CHECK(refused([](auto&, auto& channel) { channel.mode = 6; }));
    CHECK(refused([](auto&, auto& channel) { channel.access = static_cast<Pit8254::Access>(0); }));
    CHECK(refused([](auto&, auto& channel) { channel.gate = false; }));
    CHECK(refused([](auto&, auto& channel) { channel.counted = 1; }));
    CHECK(refused([](auto&, auto& channel) { channel.since_tick = UINT64_MAX; }));
    CHECK(refused([](auto&, auto& channel) { channel.rises_seen = UINT64_MAX; }));
    CHECK(refused([](auto&, auto& channel) { channel.low_byte = 1; }));
    CHECK(refused([](auto&, auto& channel) { channel.triggered = true; }));
    CHECK(refused([](auto& state, auto&) { state.speaker_port = 0x01; }));
    CHECK(refused([](auto& state, auto&) { state.speaker_port = 0x10; }));
}

}  // namespace
}  // namespace ftvmm::dev
