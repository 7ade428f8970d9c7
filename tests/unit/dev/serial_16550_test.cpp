#include "vmm/dev/serial_16550.h"

#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace ftvmm::dev {
namespace {

constexpr std::uint16_t kData = 0;
constexpr std::uint16_t kIer = 1;
constexpr std::uint16_t kIir = 2;
constexpr std::uint16_t kFcr = 2;
constexpr std::uint16_t kLcr = 3;
constexpr std::uint16_t kMcr = 4;
constexpr std::uint16_t kLsr = 5;
constexpr std::uint16_t kMsr = 6;

std::string text_of(const std::vector<std::uint8_t>& bytes) {
    return {bytes.begin(), bytes.end()};
}

std::vector<std::uint8_t> counted(std::size_t count) {
    std::vector<std::uint8_t> bytes(count);
    std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
    return bytes;
}

// As Linux's driver leaves the port once a terminal has opened it.
Serial16550 opened() {
    Serial16550 port;
    port.write(kFcr, 0x01);
    port.write(kMcr, 0x0b);
    port.write(kIer, 0x05);
    return port;
}

TEST_CASE("Linux's probe finds a 16550A and none of its relatives") {
    Serial16550 port;
    // There is a UART: IER keeps four bits.
    port.write(kIer, 0);
    CHECK(port.read(kIer) == 0);
    port.write(kIer, 0x0f);
    CHECK(port.read(kIer) == 0x0f);
    port.write(kIer, 0);
    // Loopback shows RTS as CTS and OUT2 as carrier.
    port.write(kMcr, 0x1a);
    CHECK((port.read(kMsr) & 0xf0) == 0x90);
    port.write(kMcr, 0);
    // FIFOs that work.
    port.write(kLcr, 0xbf);
    port.write(kFcr, 0);
    port.write(kLcr, 0);
    port.write(kFcr, 0x01);
    CHECK(port.read(kIir) >> 6 == 3);
    // Not a 16650: no EFR in either configuration mode.
    port.write(kLcr, 0x80);
    CHECK(port.read(2) != 0);
    port.write(kLcr, 0xbf);
    CHECK(port.read(2) != 0);
    // Not National's super-I/O: MCR's loop bit is not mirrored at 2.
    port.write(kLcr, 0xe0);
    CHECK((port.read(2) & 0x10) == 0);
    // Not a TI16750: no 64-byte FIFO.
    port.write(kLcr, 0);
    port.write(kFcr, 0x21);
    CHECK(port.read(kIir) >> 5 == 6);
    port.write(kLcr, 0x80);
    port.write(kFcr, 0x21);
    CHECK(port.read(kIir) >> 5 == 6);
    // Not an XScale: no unit enable bit in IER.
    port.write(kLcr, 0);
    port.write(kIer, 0x40);
    CHECK((port.read(kIer) & 0x40) == 0);
}

TEST_CASE("Allowing the transmit interrupt twice raises it twice, as Linux's THRE test wants") {
    Serial16550 port;
    for (int round = 0; round < 2; ++round) {
        port.write(kIer, 0x02);
        CHECK(port.read(kIir) == 0x02);
        CHECK(port.read(kIir) == 0x01);  // Answered by having been read.
        port.write(kIer, 0);
    }
}

TEST_CASE("The console's polled writes come out in order and need no interrupt") {
    auto port = opened();
    for (const char character : std::string_view("Linux version\r\n")) {
        REQUIRE((port.read(kLsr) & 0x60) == 0x60);
        port.write(kData, static_cast<std::uint8_t>(character));
    }
    CHECK_FALSE(port.irq_level());
    CHECK(text_of(port.take_output()) == "Linux version\r\n");
    CHECK(port.take_output().empty());
}

TEST_CASE("The terminal driver is interrupted until it stops transmitting") {
    auto port = opened();
    port.write(kIer, 0x07);
    std::string_view to_send = "hello";
    int interrupts = 0;
    while (port.irq_level()) {
        ++interrupts;
        REQUIRE((port.read(kIir) & 0x0f) == 0x02);
        if (to_send.empty()) {
            port.write(kIer, 0x05);
            continue;
        }
        CHECK_FALSE(port.irq_level());
        port.write(kData, static_cast<std::uint8_t>(to_send.front()));
        to_send.remove_prefix(1);
    }
    CHECK(interrupts == 6);
    CHECK(text_of(port.take_output()) == "hello");
}

TEST_CASE("Reception takes what the FIFO holds and interrupts until it is read") {
    auto port = opened();
    const auto bytes = counted(20);
    CHECK(port.receive(bytes) == 16);
    CHECK(port.receive(bytes) == 0);
    CHECK(port.irq_level());
    CHECK((port.read(kIir) & 0x0f) == 0x04);
    for (std::uint8_t expected = 1; expected <= 16; ++expected) {
        CHECK((port.read(kLsr) & 0x01) != 0);
        CHECK(port.read(kData) == expected);
    }
    CHECK((port.read(kLsr) & 0x03) == 0);
    CHECK_FALSE(port.irq_level());
}

TEST_CASE("Fewer bytes than the trigger level time out at once") {
    auto port = opened();
    port.write(kFcr, 0x81);  // Trigger at 8.
    CHECK(port.receive(counted(7)) == 7);
    CHECK((port.read(kIir) & 0x0f) == 0x0c);
    CHECK(port.receive(counted(1)) == 1);
    CHECK((port.read(kIir) & 0x0f) == 0x04);
}

TEST_CASE("Received bytes come before the transmitter, and looking at them does not answer it") {
    auto port = opened();
    port.write(kIer, 0x03);
    CHECK(port.receive(counted(1)) == 1);
    CHECK((port.read(kIir) & 0x0f) == 0x04);
    CHECK(port.read(kData) == 1);
    CHECK((port.read(kIir) & 0x0f) == 0x02);
}

TEST_CASE("The line follows OUT2, and loopback cuts it off") {
    auto port = opened();
    CHECK(port.receive(counted(1)) == 1);
    CHECK(port.irq_level());
    port.write(kMcr, 0x03);
    CHECK_FALSE(port.irq_level());
    port.write(kMcr, 0x1b);
    CHECK_FALSE(port.irq_level());
    port.write(kMcr, 0x0b);
    CHECK(port.irq_level());
}

TEST_CASE("Loopback returns bytes to the receiver and overruns it when full") {
    Serial16550 port;
    port.write(kFcr, 0x01);
    port.write(kMcr, 0x10);
    CHECK(port.receive(counted(1)) == 0);
    for (std::uint8_t value = 1; value <= 17; ++value)
        port.write(kData, value);
    CHECK(port.take_output().empty());
    port.write(kIer, 0x04);
    CHECK((port.read(kIir) & 0x0f) == 0x06);
    CHECK((port.read(kLsr) & 0x02) != 0);
    CHECK((port.read(kLsr) & 0x02) == 0);
    for (std::uint8_t expected = 1; expected <= 16; ++expected)
        CHECK(port.read(kData) == expected);
}

TEST_CASE("Without FIFOs one byte waits, and the FIFO reset drops what waits") {
    Serial16550 port;
    CHECK(port.receive(counted(2)) == 1);
    CHECK(port.read(kData) == 1);
    port.write(kFcr, 0x01);
    CHECK(port.receive(counted(5)) == 5);
    port.write(kFcr, 0x03);
    CHECK((port.read(kLsr) & 0x01) == 0);
}

TEST_CASE("Changes of the modem lines are told once") {
    Serial16550 port;
    CHECK(port.read(kMsr) == 0xb0);
    port.write(kIer, 0x08);
    port.write(kMcr, 0x14);  // Loopback with ring alone: CTS, DSR and carrier fall.
    CHECK((port.read(kIir) & 0x0f) == 0x00);
    CHECK(port.read(kMsr) == 0x4b);
    CHECK(port.read(kMsr) == 0x40);
    port.write(kMcr, 0x10);
    CHECK(port.read(kMsr) == 0x04);  // The ring's end.
}

TEST_CASE("The divisor hides data and IER while DLAB is set") {
    Serial16550 port;
    port.write(kIer, 0x01);
    port.write(kLcr, 0x83);
    port.write(0, 0x34);
    port.write(1, 0x12);
    CHECK(port.read(0) == 0x34);
    CHECK(port.read(1) == 0x12);
    port.write(kLcr, 0x03);
    CHECK(port.read(kIer) == 0x01);
    CHECK(port.take_output().empty());
}

TEST_CASE("A restored serial port goes on as the first one does, whatever was done to it") {
    Serial16550 port;
    for (unsigned step = 0; step < 8 * 256 * 4; ++step) {
        const auto offset = static_cast<std::uint16_t>(step * 5 % 8);
        port.write(offset, static_cast<std::uint8_t>(step * 7 / 8));
        if (step % 3 == 0) port.receive(counted(step % 5));
        auto restored = Serial16550::from_state(port.state());
        REQUIRE(restored);
        for (std::uint16_t at = 0; at < Serial16550::kPorts; ++at) {
            REQUIRE(restored->read(at) == port.read(at));
        }
        REQUIRE(restored->state() == port.state());
        REQUIRE(restored->irq_level() == port.irq_level());
        REQUIRE(port.take_output().size() <= 1);
    }
}

TEST_CASE("A serial port is not restored from nonsense") {
    const auto refused = [](auto change) {
        Serial16550::State state;
        change(state);
        return !Serial16550::from_state(state);
    };
    CHECK(refused([](auto& state) { state.ier = 0x10; }));
    CHECK(refused([](auto& state) { state.mcr = 0x20; }));
    CHECK(refused([](auto& state) { state.fcr = 0x02; }));
    CHECK(refused([](auto& state) { state.fcr = 0xc0; }));
    CHECK(refused([](auto& state) { state.modem_delta = 0x10; }));
    CHECK(refused([](auto& state) { state.received = 2; }));
    CHECK(refused([](auto& state) { state.fifo[3] = 1; }));
    CHECK_FALSE(refused([](auto& state) { state.fcr = 0xc1; }));
}

}  // namespace
}  // namespace ftvmm::dev
