#include "vmm/dev/pic_8259.h"

#include <catch2/catch.hpp>

namespace ftvmm::dev {
namespace {

constexpr std::uint16_t kMasterCommand = 0x20;
constexpr std::uint16_t kMasterData = 0x21;
constexpr std::uint16_t kSlaveCommand = 0xa0;
constexpr std::uint16_t kSlaveData = 0xa1;

// What Linux writes at boot (vectors 0x30 and 0x38), with the given masks afterwards.
Pic8259 initialised(std::uint8_t master_mask = 0, std::uint8_t slave_mask = 0,
                    std::uint8_t icw4 = 0x01) {
    Pic8259 pic;
    pic.write(kMasterData, 0xff);
    pic.write(kMasterCommand, 0x11);
    pic.write(kMasterData, 0x30);
    pic.write(kMasterData, 0x04);
    pic.write(kMasterData, icw4);
    pic.write(kSlaveCommand, 0x11);
    pic.write(kSlaveData, 0x38);
    pic.write(kSlaveData, 0x02);
    pic.write(kSlaveData, icw4);
    pic.write(kMasterData, master_mask);
    pic.write(kSlaveData, slave_mask);
    return pic;
}

void pulse(Pic8259& pic, unsigned irq) {
    pic.set_line(irq, true);
    pic.set_line(irq, false);
}

TEST_CASE("Linux's probe reads back the mask, and nothing is asked for before initialisation") {
    Pic8259 pic;
    pic.set_line(0, true);
    CHECK_FALSE(pic.pending());
    pic.write(kSlaveData, 0xff);
    pic.write(kMasterData, 0xfb);
    CHECK(pic.read(kMasterData) == 0xfb);
}

TEST_CASE("A line of the master is delivered with its vector until it is acknowledged") {
    auto pic = initialised();
    pic.set_line(4, true);
    CHECK(pic.pending() == 0x34);
    CHECK(pic.acknowledge() == 0x34);
    CHECK_FALSE(pic.pending());
    pic.write(kMasterCommand, 0x64);  // Specific EOI of line 4.
    CHECK_FALSE(pic.pending());       // An edge asks once, however long it stays high.
    pic.set_line(4, false);
    pic.set_line(4, true);
    CHECK(pic.pending() == 0x34);
}

TEST_CASE("A pulse that has gone is still delivered") {
    auto pic = initialised(0x01);
    pulse(pic, 0);
    CHECK_FALSE(pic.pending());
    pic.write(kMasterData, 0);
    CHECK(pic.pending() == 0x30);
}

TEST_CASE("Linux's mask-and-acknowledge of a cascaded line frees both chips") {
    auto pic = initialised();
    pic.set_line(8, true);
    CHECK(pic.read(kMasterCommand) == 0x04);
    CHECK(pic.acknowledge() == 0x38);
    pulse(pic, 12);
    CHECK_FALSE(pic.pending());
    pic.write(kSlaveData, 0x01);
    pic.write(kSlaveCommand, 0x60);
    CHECK_FALSE(pic.pending());  // The master still has line 2 in service.
    pic.write(kMasterCommand, 0x62);
    CHECK(pic.pending() == 0x3c);
}

TEST_CASE("Lower lines wait, higher lines interrupt") {
    auto pic = initialised();
    pulse(pic, 4);
    CHECK(pic.acknowledge() == 0x34);
    pulse(pic, 5);
    CHECK_FALSE(pic.pending());
    pulse(pic, 9);
    CHECK(pic.acknowledge() == 0x39);  // Line 2 is before line 4.
    pulse(pic, 0);
    CHECK(pic.acknowledge() == 0x30);

    pic.write(kMasterCommand, 0x0b);
    CHECK(pic.read(kMasterCommand) == 0x15);
    // Plain EOIs end the highest first.
    pic.write(kMasterCommand, 0x20);
    CHECK(pic.read(kMasterCommand) == 0x14);
    pic.write(kSlaveCommand, 0x20);
    pic.write(kMasterCommand, 0x20);
    pic.write(kMasterCommand, 0x20);
    CHECK(pic.read(kMasterCommand) == 0);
    CHECK(pic.pending() == 0x35);
}

TEST_CASE("A level line asks again after its EOI for as long as it is high") {
    auto pic = initialised();
    pic.write(0x4d1, 0xff);
    pic.write(0x4d0, 0xff);
    CHECK(pic.read(0x4d0) == 0xf8);  // Timer, keyboard and cascade stay edges,
    CHECK(pic.read(0x4d1) == 0xde);  // and so do the RTC and the coprocessor.
    pic.set_line(10, true);
    CHECK(pic.acknowledge() == 0x3a);
    pic.write(kSlaveCommand, 0x62);
    pic.write(kMasterCommand, 0x62);
    CHECK(pic.pending() == 0x3a);
    pic.set_line(10, false);
    CHECK_FALSE(pic.pending());
    CHECK(pic.read(kMasterCommand) == 0);
}

TEST_CASE("A request that goes before the acknowledge is answered by a spurious line 7") {
    auto pic = initialised();
    CHECK(pic.acknowledge() == 0x37);
    // Linux looks for bit 7 in the ISR to tell it from a real one.
    pic.write(kMasterCommand, 0x0b);
    CHECK((pic.read(kMasterCommand) & 0x80) == 0);
    pic.write(kMasterCommand, 0x0a);
    pulse(pic, 7);
    CHECK(pic.acknowledge() == 0x37);
    pic.write(kMasterCommand, 0x0b);
    CHECK((pic.read(kMasterCommand) & 0x80) != 0);
}

TEST_CASE("Automatic EOI leaves nothing in service") {
    auto pic = initialised(0, 0, 0x03);
    pulse(pic, 3);
    CHECK(pic.acknowledge() == 0x33);
    pulse(pic, 3);
    CHECK(pic.pending() == 0x33);
    pic.write(kMasterCommand, 0x0b);
    CHECK(pic.read(kMasterCommand) == 0);
}

TEST_CASE("Special mask mode lets lower lines through while the one in service is masked") {
    auto pic = initialised();
    pulse(pic, 1);
    CHECK(pic.acknowledge() == 0x31);
    pulse(pic, 6);
    pic.write(kMasterData, 0x02);
    CHECK_FALSE(pic.pending());
    pic.write(kMasterCommand, 0x68);
    CHECK(pic.pending() == 0x36);
    pic.write(kMasterCommand, 0x48);
    CHECK_FALSE(pic.pending());
}

TEST_CASE("Special fully nested mode lets the slave nest") {
    auto pic = initialised(0, 0, 0x11);
    pulse(pic, 12);
    CHECK(pic.acknowledge() == 0x3c);
    pulse(pic, 8);
    CHECK(pic.pending() == 0x38);
    pulse(pic, 5);
    CHECK(pic.acknowledge() == 0x38);
    CHECK_FALSE(pic.pending());
}

TEST_CASE("Rotation makes the line that was served the lowest") {
    auto pic = initialised();
    pulse(pic, 3);
    CHECK(pic.acknowledge() == 0x33);
    pic.write(kMasterCommand, 0xa0);
    pulse(pic, 0);
    pulse(pic, 3);
    pulse(pic, 4);
    CHECK(pic.pending() == 0x34);
    pic.write(kMasterCommand, 0xc7);  // Set priority: 7 is the lowest, 0 the highest.
    CHECK(pic.pending() == 0x30);
}

TEST_CASE("A poll acknowledges") {
    auto pic = initialised();
    pulse(pic, 6);
    pic.write(kMasterCommand, 0x0c);
    CHECK(pic.read(kMasterCommand) == 0x86);
    CHECK_FALSE(pic.pending());
    pic.write(kMasterCommand, 0x0c);
    CHECK(pic.read(kMasterCommand) == 0x00);
    CHECK(pic.read(kMasterCommand) == 0x00);  // The IRR again.
}

TEST_CASE("Initialisation forgets edges, masks and what was in service") {
    auto pic = initialised();
    pic.set_line(5, true);
    pulse(pic, 1);
    CHECK(pic.acknowledge() == 0x31);
    pic.write(kMasterCommand, 0x11);
    CHECK_FALSE(pic.pending());
    pic.write(kMasterData, 0x40);
    pic.write(kMasterData, 0x04);
    pic.write(kMasterData, 0x01);
    CHECK_FALSE(pic.pending());
    pic.set_line(5, false);
    pic.set_line(5, true);
    CHECK(pic.pending() == 0x45);
}

TEST_CASE("Restored interrupt controllers go on as the first pair does, whatever was done to it") {
    constexpr std::array<std::uint16_t, 6> kPorts = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
    auto pic = initialised();
    std::uint32_t seed = 1;
    for (int step = 0; step < 20'000; ++step) {
        seed = seed * 1664525 + 1013904223;
        const unsigned irq = seed >> 28;
        pic.write(kPorts.at((seed >> 16) % 6), static_cast<std::uint8_t>(seed >> 8));
        if (irq != Pic8259::kCascadeLine) pic.set_line(irq, (seed & 0x80) != 0);
        auto restored = Pic8259::from_state(pic.state());
        REQUIRE(restored);
        const auto promised = pic.pending();
        REQUIRE(restored->pending() == promised);
        if (promised) {
            REQUIRE(pic.acknowledge() == *promised);
            REQUIRE(restored->acknowledge() == *promised);
        }
        for (const auto port : kPorts)
            REQUIRE(restored->read(port) == pic.read(port));
        REQUIRE(restored->state() == pic.state());
    }
    CHECK(pic.read(0x22) == 0xff);
}

TEST_CASE("Interrupt controllers are not restored from nonsense") {
    const auto refused = [](auto change) {
        Pic8259::State state;
        change(state.chips[0], state.chips[1]);
        return !Pic8259::from_state(state);
    };
    CHECK(refused([](auto& master, auto&) { master.elcr = 0x01; }));
    CHECK(refused([](auto&, auto& slave) { slave.elcr = 0x20; }));
    CHECK(refused([](auto& master, auto&) { master.vector_base = 0x31; }));
    CHECK(refused([](auto& master, auto&) { master.highest = 8; }));
    CHECK(refused([](auto&, auto& slave) { slave.step = static_cast<Pic8259::Step>(4); }));
    CHECK(refused([](auto& master, auto&) { master.irr = 0x04; }));
    CHECK(refused([](auto& master, auto&) { master.elcr = master.irr = 0x08; }));
    CHECK_FALSE(refused([](auto&, auto& slave) { slave.irr = 0x04; }));
}

}  // namespace
}  // namespace ftvmm::dev
