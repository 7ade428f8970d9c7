#include "vmm/machine/platform.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"
#include "vmm/machine/exit_dispatch.h"

namespace ftvmm::machine {
namespace {

using dev::at_ns;
using namespace kvm::exit;

struct Machine {
    GuestMemory memory = *GuestMemory::create(1 << 20);
    Platform platform{{}, memory};

    std::uint32_t in(std::uint16_t port, std::uint8_t size, std::size_t items = 1) {
        std::vector<std::byte> data(size * items);
        dispatch(IoIn{port, size, data}, platform);
        std::uint32_t last = 0;
        for (std::size_t i = size; i > 0; --i) {
            last = last << 8U | std::to_integer<std::uint32_t>(data[data.size() - size + i - 1]);
        }
        return last;
    }
    void out(std::uint16_t port, std::string_view bytes) {
        dispatch(IoOut{port, 1, std::as_bytes(std::span(bytes))}, platform);
    }
};

std::string printed(Platform& platform) {
    std::string text;
    for (const auto& output : platform.take_outputs()) {
        const auto& bytes = std::get<replay::output::ConsoleBytes>(output).bytes;
        for (const std::byte byte : bytes)
            text += std::to_integer<char>(byte);
    }
    return text;
}

TEST_CASE("A string instruction's bytes are printed in order, as one output") {
    Machine machine;
    machine.out(kCom1, "hello");
    auto outputs = machine.platform.take_outputs();
    REQUIRE(outputs.size() == 1);
    machine.out(kCom1, "a");
    machine.out(kCom1, "b");
    CHECK(printed(machine.platform) == "ab");
}

TEST_CASE("What nothing answers reads as all ones") {
    Machine machine;
    CHECK(machine.in(0x1234, 1) == 0xff);
    CHECK(machine.in(0x1234, 2) == 0xffff);
    CHECK(machine.in(0x1234, 4) == 0xffffffff);
    CHECK(machine.platform.read_memory(Gpa(0xfec00000), 4) == UINT64_MAX);
    CHECK(machine.platform.read_memory(Gpa(0xd0000000), 3) == UINT64_MAX);
}

TEST_CASE("Accesses that depend on the time are told from those that do not") {
    std::array<std::byte, 4> data{};
    CHECK(needs_time(IoIn{0x608, 4, data}));
    CHECK(needs_time(IoIn{0x605, 4, data}));
    CHECK(needs_time(IoIn{0x40, 1, std::span(data).first(1)}));
    CHECK(needs_time(IoOut{0x71, 1, std::span(data).first(1)}));
    CHECK_FALSE(needs_time(IoIn{kCom1, 1, std::span(data).first(1)}));
    CHECK_FALSE(needs_time(IoIn{0x604, 2, std::span(data).first(2)}));
    CHECK(needs_time(Wrmsr{0x838, {}, 1, nullptr}));
    CHECK(needs_time(Wrmsr{PvClock::kSystemTimeMsr, {}, 1, nullptr}));
    CHECK_FALSE(needs_time(Wrmsr{0x80b, {}, 0, nullptr}));
    CHECK_FALSE(needs_time(Hlt{}));
}

TEST_CASE("The PM timer shows the time that was given, and time never falls") {
    Machine machine;
    machine.platform.apply(replay::input::Time{at_ns(1'000'000'000)});
    CHECK(machine.in(0x608, 4) == 3'579'545);
    machine.platform.apply(replay::input::Time{at_ns(1)});
    CHECK(machine.in(0x608, 4) == 3'579'545);
}

// Programs the interval timer and its controller as Linux does at HZ=250, and serves each tick.
struct TickCounter : Machine {
    int ticks = 0;

    void start(GuestTime read_time_of_day, GuestTime start) {
        for (const auto& [port, value] :
             {std::pair{0x20, 0x11}, {0x21, 0x30}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0xfe}}) {
            write(port, value);
        }
        platform.apply(replay::input::Time{read_time_of_day});
        REQUIRE(platform.write_msr(PvClock::kWallClockMsr, 0x2000));
        platform.apply(replay::input::Time{start});
        serve();  // The tick that firmware left.
        ticks = 0;
        for (const auto& [port, value] :
             {std::pair{0x43, 0x34}, {0x40, 4773 & 0xff}, {0x40, 4773 >> 8}}) {
            write(port, value);
        }
    }
    void write(int port, int value) {
        platform.write_port(static_cast<std::uint16_t>(port), 1, static_cast<std::uint32_t>(value));
    }
    // The guest can take interrupts.
    void serve() {
        for (; platform.is_interrupt_pending(); ++ticks) {
            CHECK(platform.acknowledge_interrupt() == 0x30);
            write(0x20, 0x20);
        }
    }
};

TEST_CASE(
    "A guest that counts ticks loses none, neither before the first nor with interrupts off") {
    TickCounter machine;
    machine.start(at_ns(100'000'000), at_ns(161'000'000));
    machine.serve();
    CHECK(machine.ticks == 15);
    machine.platform.apply(replay::input::Time{at_ns(141'000'000 + 60'000'000)});
    machine.serve();
    CHECK(machine.ticks == 25);
    // Nothing to look at while it has not served the last one.
    machine.platform.apply(replay::input::Time{at_ns(205'000'000)});
    CHECK_FALSE(machine.platform.next_deadline());
    machine.serve();
    CHECK(machine.platform.next_deadline());
}

TEST_CASE("Ticks that came while their line was masked are not lost either") {
    TickCounter machine;
    machine.start(at_ns(0), at_ns(1'000'000));
    machine.write(0x21, 0xff);
    machine.platform.apply(replay::input::Time{at_ns(50'000'000)});
    machine.platform.apply(replay::input::Time{at_ns(90'000'000)});
    machine.serve();
    CHECK(machine.ticks == 0);
    machine.write(0x21, 0xfe);
    machine.serve();
    CHECK(machine.ticks == 22);
}

TEST_CASE("Typed bytes that the serial port has no room for wait, and none is lost") {
    Machine machine;
    const std::string text = "twenty-two bytes or so";
    machine.platform.apply(
        replay::input::ConsoleBytes{std::as_bytes(std::span(text)), replay::ConsolePort::kSerial});
    CHECK_FALSE(machine.platform.wants_console_bytes(replay::ConsolePort::kSerial));
    std::string read;
    while ((machine.in(kCom1 + 5, 1) & 1U) != 0)
        read += static_cast<char>(machine.in(kCom1, 1));
    CHECK(read == text);
    CHECK(machine.platform.wants_console_bytes(replay::ConsolePort::kSerial));
}

TEST_CASE("The power button raises ACPI's interrupt, and S5 takes the power") {
    Machine machine;
    dispatch(IoOut{0x602, 2, std::as_bytes(std::span("\x00\x01", 2))}, machine.platform);
    machine.platform.apply(replay::input::PowerButton{});
    CHECK((machine.in(0x600, 2) & 0x100U) != 0);
    dispatch(IoOut{0x604, 2, std::as_bytes(std::span("\x00\x34", 2))}, machine.platform);
    CHECK(machine.platform.take_events().power_off);
    CHECK_FALSE(machine.platform.take_events().power_off);
}

TEST_CASE("An MSR that no processor has faults, and one that never changes does not") {
    Machine machine;
    std::uint64_t value = 1;
    std::uint8_t fault = 0;
    dispatch(Rdmsr{0x4711, MsrReason::kFiltered, &value, &fault}, machine.platform);
    CHECK(fault == 1);
    dispatch(Rdmsr{0x1b, MsrReason::kFiltered, &value, &fault}, machine.platform);
    CHECK(fault == 0);
    CHECK(value == 0xfee00d00);
    dispatch(Wrmsr{0x1b, MsrReason::kFiltered, 0, &fault}, machine.platform);
    CHECK(fault == 1);
    dispatch(Rdmsr{0x10, MsrReason::kFiltered, &value, &fault}, machine.platform);
    CHECK(fault == 0);
    CHECK(value == 0);
}

}  // namespace
}  // namespace ftvmm::machine
