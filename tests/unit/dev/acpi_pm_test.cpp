#include "vmm/dev/acpi_pm.h"

#include <catch2/catch.hpp>

namespace ftvmm::dev {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr GuestTime kStart{};
constexpr AcpiPm::Events kPowerOff{.power_off = true, .reset = false};
constexpr AcpiPm::Events kReset{.power_off = false, .reset = true};

TEST_CASE("The machine is in ACPI mode from the start") {
    const AcpiPm pm;
    CHECK((pm.read(0x604, 2, kStart) & 1) == 1);
    CHECK_FALSE(pm.sci_level());
}

TEST_CASE("The power button raises the SCI until its status is cleared") {
    AcpiPm pm;
    pm.write(0x602, 2, 0x0100);
    CHECK_FALSE(pm.sci_level());
    pm.press();
    CHECK(pm.sci_level());
    CHECK(pm.read(0x600, 2, kStart) == 0x0100);
    pm.write(0x600, 2, 0x8421);  // Ones for other bits leave it alone.
    CHECK(pm.sci_level());
    pm.write(0x600, 2, 0x0100);
    CHECK_FALSE(pm.sci_level());
    CHECK(pm.read(0x600, 2, kStart) == 0);
    CHECK(pm.take_events() == AcpiPm::Events{});
}

TEST_CASE("A press before the button is enabled is seen once it is") {
    AcpiPm pm;
    pm.press();
    CHECK_FALSE(pm.sci_level());
    pm.write(0x603, 1, 0x01);
    CHECK(pm.sci_level());
}

TEST_CASE("Linux's way into S5 powers off once, at SLP_EN") {
    AcpiPm pm;
    const std::uint32_t control = pm.read(0x604, 2, kStart);
    pm.write(0x604, 2, control | 5 << 10);
    CHECK(pm.take_events() == AcpiPm::Events{});
    pm.write(0x604, 2, control | 5 << 10 | 1 << 13);
    CHECK(pm.take_events() == kPowerOff);
    CHECK(pm.take_events() == AcpiPm::Events{});
    CHECK(pm.read(0x604, 2, kStart) == (1 | 5 << 10));  // SLP_EN reads as zero.
}

TEST_CASE("A sleep state that the machine lacks ends at once") {
    AcpiPm pm;
    pm.write(0x604, 2, 3 << 10 | 1 << 13);
    CHECK(pm.take_events() == AcpiPm::Events{});
    CHECK(pm.read(0x600, 2, kStart) == 0x8000);
}

TEST_CASE("The PM timer counts 3579545 a second, wraps at 32 bits and does not drift") {
    const AcpiPm pm;
    CHECK(pm.read(0x608, 4, kStart) == 0);
    CHECK(pm.read(0x608, 4, kStart + seconds(1)) == 3'579'545);
    CHECK(pm.read(0x608, 4, kStart + milliseconds(100)) == 357'954);
    constexpr std::uint64_t kYear = 365ULL * 24 * 3600 * 3'579'545;
    CHECK(pm.read(0x608, 4, kStart + hours(24 * 365)) == static_cast<std::uint32_t>(kYear));
    CHECK(pm.read(0x60a, 1, kStart + seconds(1)) == (3'579'545 >> 16 & 0xff));
}

TEST_CASE("Each reset register resets for its own value") {
    const std::uint32_t code = GENERATE(0x06U, 0x0eU);
    AcpiPm pm;
    // Linux announces the kind of reset first.
    pm.write(0xcf9, 1, 0x02);
    CHECK(pm.take_events() == AcpiPm::Events{});
    CHECK(pm.read(0xcf9, 1, kStart) == 0x02);
    pm.write(0xcf9, 1, code);
    CHECK(pm.take_events() == kReset);

    pm.write(AcpiPm::kFadtResetPort, 1, 0x00);
    CHECK(pm.take_events() == AcpiPm::Events{});
    pm.write(AcpiPm::kFadtResetPort, 1, AcpiPm::kResetValue);
    CHECK(pm.take_events() == kReset);
}

TEST_CASE("A restored ACPI block equals the first one, whatever was written to it") {
    AcpiPm pm;
    for (std::uint32_t value = 0; value < 0x100; ++value) {
        for (std::uint16_t port = 0x5fe; port < 0x612; ++port) {
            for (const std::uint8_t bytes : std::array<std::uint8_t, 3>{1, 2, 4}) {
                pm.write(port, bytes, value * 0x01030507);
                if (value % 16 == 0) pm.press();
                const auto restored = AcpiPm::from_state(pm.state());
                REQUIRE(restored);
                REQUIRE(restored->state() == pm.state());
                REQUIRE(restored->sci_level() == pm.sci_level());
                REQUIRE(restored->read(port, bytes, kStart) == pm.read(port, bytes, kStart));
            }
        }
        pm.write(0xcf9, 1, value);
        REQUIRE(AcpiPm::from_state(pm.state()));
    }
    CHECK(pm.read(0x5fe, 4, kStart) >> 16 == pm.read(0x600, 2, kStart));
    CHECK(pm.read(0x60e, 4, kStart) == 0);
}

TEST_CASE("An ACPI block is not restored from nonsense") {
    CHECK_FALSE(AcpiPm::from_state({0x0002, 0, 0, 0}));
    CHECK_FALSE(AcpiPm::from_state({0, 0x0002, 0, 0}));
    CHECK_FALSE(AcpiPm::from_state({0, 0, 0x2000, 0}));
    CHECK_FALSE(AcpiPm::from_state({0, 0, 0, 0x01}));
}

}  // namespace
}  // namespace ftvmm::dev
