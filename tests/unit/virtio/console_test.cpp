#include "vmm/virtio/console.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "driver.h"

namespace ftvmm::virtio {
namespace {

using testing::Buffer;
using testing::Driver;
using testing::DriverQueue;
using testing::Used;

constexpr std::uint64_t kMemoryBytes = 0x4'0000;
constexpr Gpa kData{0x1'0000};

struct Fixture {
    GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma{memory};
    Console console;
    Driver driver{memory, console};
    DriverQueue input = start_input();
    DriverQueue output = driver.set_up(Console::kOutput, Gpa(0x8000), 4);

    Fixture() { driver.add_status(status::kDriverOk); }
    DriverQueue start_input() {
        driver.enable_pci();
        (void)driver.negotiate(feature::kVersion1);
        return driver.set_up(Console::kInput, Gpa(0x4000), 4);
    }
    [[nodiscard]] std::string text(Gpa address, std::size_t size) const {
        const auto bytes = memory.find(address, size);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    void write(std::string_view text) { (void)memory.write(kData, std::as_bytes(std::span(text))); }
};

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

TEST_CASE("What the guest prints comes out in order") {
    Fixture f;
    CHECK(f.console.config().read(pci::reg::kDeviceId, 2) == 0x1043);
    f.write("hello, world");
    (void)f.output.add(std::array{Buffer{kData.value(), 7}});
    (void)f.output.add(std::array{Buffer{kData.value() + 7, 3}, Buffer{kData.value() + 10, 2}});
    const auto work = f.console.notify(f.dma, Console::kOutput);
    CHECK(std::ranges::equal(work.output, bytes_of("hello, world")));
    CHECK(work.interrupts.size() == 1);
    CHECK(f.output.take_used() == Used{0, 0});
    CHECK(f.output.take_used() == Used{1, 0});
    CHECK(f.console.notify(f.dma, Console::kOutput).output.empty());
}

TEST_CASE("Input is taken as far as the guest has room, and the rest when it has more") {
    Fixture f;
    const auto input = bytes_of("abcdefgh");
    CHECK(f.console.receive(f.dma, input).taken == 0);
    (void)f.input.add(
        std::array{Buffer{kData.value(), 2, true}, Buffer{kData.value() + 2, 1, true}});
    (void)f.input.add(std::array{Buffer{kData.value() + 3, 2, true}});
    CHECK(f.driver.ring(Console::kInput) == Console::kInput);
    CHECK(f.console.notify(f.dma, Console::kInput).has_room);
    const auto received = f.console.receive(f.dma, input);
    CHECK(received.taken == 5);
    CHECK(received.interrupts.size() == 1);
    CHECK(f.input.take_used() == Used{0, 3});
    CHECK(f.input.take_used() == Used{2, 2});
    CHECK(f.text(kData, 5) == "abcde");
    (void)f.input.add(std::array{Buffer{kData.value() + 5, 100, true}});
    CHECK(f.console.receive(f.dma, input.subspan(5)).taken == 3);
    CHECK(f.input.take_used() == Used{3, 3});
    CHECK(f.text(kData, 9) == std::string("abcdefgh\0", 9));
    CHECK(f.console.receive(f.dma, {}).taken == 0);
}

TEST_CASE("Chains of the wrong direction, or too long, break the console") {
    Fixture f;
    (void)f.output.add(std::array{Buffer{kData.value(), 2, true}});
    CHECK(f.console.notify(f.dma, Console::kOutput).interrupts.size() == 1);
    CHECK_FALSE(f.console.is_running());
    Fixture g;
    (void)g.input.add(std::array{Buffer{kData.value(), 2}});
    CHECK(g.console.receive(g.dma, bytes_of("a")).taken == 0);
    CHECK_FALSE(g.console.is_running());
    Fixture h;
    (void)h.output.add(std::array{Buffer{kData.value(), kMaxConsoleBytes}});
    CHECK(h.console.notify(h.dma, Console::kOutput).output.size() == kMaxConsoleBytes);
    (void)h.output.add(std::array{Buffer{kData.value(), kMaxConsoleBytes + 1}});
    CHECK(h.console.notify(h.dma, Console::kOutput).output.empty());
    CHECK_FALSE(h.console.is_running());
}

TEST_CASE("A console that is not set up takes and gives nothing") {
    const GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma(memory);
    Console console;
    CHECK_FALSE(console.notify(dma, Console::kInput).has_room);
    CHECK(console.notify(dma, Console::kOutput).output.empty());
    CHECK(console.notify(dma, 2).output.empty());
    CHECK(console.receive(dma, bytes_of("a")).taken == 0);
    CHECK(dma.take_written_pages().empty());
}

TEST_CASE("A console goes on from its state") {
    Fixture f;
    f.write("x");
    (void)f.output.add(std::array{Buffer{kData.value(), 1}});
    auto restored = Console::from_state(f.console.state());
    REQUIRE(restored);
    CHECK(restored->state() == f.console.state());
    CHECK(std::ranges::equal(restored->notify(f.dma, Console::kOutput).output, bytes_of("x")));
    auto wrong = f.console.state();
    wrong.queues.pop_back();
    CHECK_FALSE(Console::from_state(wrong));
}

}  // namespace
}  // namespace ftvmm::virtio
