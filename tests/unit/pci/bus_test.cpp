#include "vmm/pci/bus.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "plain_function.h"

namespace ftvmm::pci {
namespace {

constexpr std::uint32_t ecam(std::uint32_t slot, std::uint32_t offset) {
    return slot << 15U | offset;
}

struct Fixture {
    PlainFunction first;
    PlainFunction second;
    Bus bus;

    Fixture() {
        bus.attach(1, first);
        bus.attach(31, second);
        bus.assign_bars();
    }
    void enable(std::uint32_t slot) { (void)bus.write_ecam(ecam(slot, reg::kCommand), 2, 7); }
};

TEST_CASE("ECAM and the two ports show the same configuration space") {
    Fixture f;
    CHECK(f.bus.read_ecam(ecam(0, 0), 4) == 0x0008'1b36);
    CHECK(f.bus.read_ecam(ecam(0, 0x0a), 2) == 0x0600);
    CHECK(f.bus.read_ecam(ecam(1, 0), 4) == 0x5678'1234);
    (void)f.bus.write_port(kConfigAddressPort, 4, 0x8000'0000 | 31U << 11U);
    CHECK(f.bus.read_port(kConfigAddressPort, 4) == (0x8000'0000 | 31U << 11U));
    CHECK(f.bus.read_port(kConfigDataPort, 4) == 0x5678'1234);
    CHECK(f.bus.read_port(kConfigDataPort + 2, 2) == 0x5678);
    (void)f.bus.write_port(kConfigAddressPort, 4, 0x8000'0004 | 31U << 11U);
    (void)f.bus.write_port(kConfigDataPort, 2, command::kMemory);
    CHECK(f.bus.read_ecam(ecam(31, reg::kCommand), 2) == command::kMemory);
}

TEST_CASE("Empty slots, other functions and other buses read as all ones") {
    Fixture f;
    CHECK(f.bus.read_ecam(ecam(2, 0), 4) == 0xffff'ffff);
    CHECK(f.bus.read_ecam(ecam(1, 0x1000), 2) == 0xffff);
    CHECK(f.bus.read_ecam(ecam(1, 1), 2) == 0xffff);
    CHECK(f.bus.read_ecam(kEcamBytes, 4) == 0xffff'ffff);
    CHECK(f.bus.read_ecam(ecam(2, 0), 1) == 0xff);
    (void)f.bus.write_port(kConfigAddressPort, 4, 0x8001'0000);
    CHECK(f.bus.read_port(kConfigDataPort, 4) == 0xffff'ffff);
    (void)f.bus.write_port(kConfigAddressPort, 4, 0);
    CHECK(f.bus.read_port(kConfigDataPort, 4) == 0xffff'ffff);
    CHECK_FALSE(f.bus.read_port(0x80, 1));
}

TEST_CASE("BARs are placed at power-on and decoded once the guest asks for it") {
    Fixture f;
    CHECK(f.first.config().bar_address(0) == 0xd000'0000);
    CHECK(f.second.config().bar_address(0) == 0xd000'1000);
    CHECK(f.first.config().bar_address(1) == 0x1000);
    CHECK(f.second.config().bar_address(1) == 0x1010);
    CHECK_FALSE(f.bus.route_memory(Gpa(0xd000'0010), 4));
    f.enable(1);
    f.enable(31);
    CHECK(f.bus.route_memory(Gpa(0xd000'0ffc), 4) == BarHit{1, 0, 0xffc});
    CHECK_FALSE(f.bus.route_memory(Gpa(0xd000'0ffe), 4));
    CHECK(f.bus.route_memory(Gpa(0xd000'1000), 8) == BarHit{31, 0, 0});
    CHECK_FALSE(f.bus.route_memory(Gpa(0xd000'2000), 1));
    CHECK(f.bus.route_port(0x1012, 2) == BarHit{31, 1, 2});
    CHECK_FALSE(f.bus.route_port(0x1020, 2));
}

TEST_CASE("A BAR answers where the guest has moved it, inside the window alone") {
    Fixture f;
    f.enable(1);
    (void)f.bus.write_ecam(ecam(1, reg::kBar0), 4, 0xdfff'f000);
    CHECK(f.bus.route_memory(Gpa(0xdfff'f004), 4) == BarHit{1, 0, 4});
    CHECK_FALSE(f.bus.route_memory(Gpa(0xd000'0004), 4));
    (void)f.bus.write_ecam(ecam(1, reg::kBar0), 4, 0x1000);
    CHECK_FALSE(f.bus.route_memory(Gpa(0x1004), 4));
    (void)f.bus.write_ecam(ecam(1, reg::kBar0 + 4), 4, 0x3f0);
    CHECK_FALSE(f.bus.route_port(0x3f8, 1));
}

TEST_CASE("An access to a BAR reaches its function, and what follows names the slot") {
    Fixture f;
    f.enable(31);
    CHECK(f.bus.read_memory(Gpa(0xd000'1008), 8) == 0x1122'3344'5566'7788);
    CHECK(f.second.last() == std::tuple(0, 8, 8));
    const auto effects = f.bus.write_port(0x1010, 2, 5);
    REQUIRE(effects);
    CHECK(effects->slot == 31);
    CHECK(effects->doorbell == std::uint16_t{5});
    CHECK(f.second.last() == std::tuple(1, 0, 2));
    CHECK_FALSE(f.bus.write_memory(Gpa(0xd000'0008), 4, 0));
    CHECK_FALSE(f.bus.read_memory(Gpa(0xd000'1008), 3));
}

TEST_CASE("A write to configuration space that unmasks gives the messages that waited") {
    Fixture f;
    f.enable(1);
    const auto control =
        static_cast<std::uint16_t>(f.first.config().read(reg::kCapabilities, 1) + 2);
    (void)f.bus.write_ecam(ecam(1, control), 2, 0xc000);
    (void)f.first.msix().write_table(f.first.config(), 8, 8, 0x77);
    CHECK_FALSE(f.first.msix().signal(f.first.config(), 0));
    const auto effects = f.bus.write_ecam(ecam(1, control), 2, 0x8000);
    REQUIRE(effects.messages.size() == 1);
    CHECK(effects.messages[0].data == 0x77);
    CHECK(effects.slot == 1);
}

TEST_CASE("A bus comes back from its state") {
    Fixture f;
    (void)f.bus.write_port(kConfigAddressPort, 4, 0xffff'ffff);
    (void)f.bus.write_ecam(ecam(0, reg::kCommand), 2, 7);
    const auto restored = Bus::from_state(f.bus.state());
    REQUIRE(restored);
    CHECK(restored->state() == f.bus.state());
    auto wrong = f.bus.state();
    wrong.config_address |= 1;
    CHECK_FALSE(Bus::from_state(wrong));
}

TEST_CASE("No access to configuration space, from any seed, breaks the bus") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        INFO("seed " << seed);
        SeededEntropy entropy(seed);
        Fixture f;
        for (int step = 0; step < 500; ++step) {
            const auto size = static_cast<std::uint8_t>(1U << entropy.below(3));
            const auto offset = static_cast<std::uint32_t>(entropy.below(kEcamBytes + 64));
            const auto port = static_cast<std::uint16_t>(0xcf0 + entropy.below(0x400));
            const auto value = static_cast<std::uint32_t>(entropy.next_u64());
            (void)f.bus.write_ecam(entropy.below(2) != 0 ? offset : offset & 0x80ffU, size, value);
            (void)f.bus.write_port(port, size, value);
            (void)f.bus.read_port(port, size);
            (void)f.bus.read_memory(Gpa(value), size);
        }
        const auto restored = Bus::from_state(f.bus.state());
        REQUIRE(restored);
        CHECK(f.bus.read_ecam(ecam(1, 0), 4) == 0x5678'1234);
    }
}

}  // namespace
}  // namespace ftvmm::pci
