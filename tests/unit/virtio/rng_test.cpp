#include "vmm/virtio/rng.h"

#include <algorithm>
#include <array>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "driver.h"

namespace ftvmm::virtio {
namespace {

using testing::Buffer;
using testing::Driver;
using testing::DriverQueue;
using testing::Used;

constexpr std::uint64_t kMemoryBytes = 0x2'0000;
constexpr std::uint16_t kQueueSize = 4;
constexpr Gpa kData{0x1'0000};

struct Fixture {
    GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma{memory};
    Rng rng;
    Driver driver{memory, rng};
    DriverQueue queue = driver.start(feature::kVersion1, Gpa(0x4000), kQueueSize);

    Rng::Work ask(std::uint32_t length) {
        (void)queue.add(std::array{Buffer{kData.value(), length, true}});
        return rng.notify(dma, 0);
    }
};

std::vector<std::byte> bytes_of(std::size_t size) {
    std::vector<std::byte> bytes(size);
    SeededEntropy(size).fill(bytes);
    return bytes;
}

TEST_CASE("The guest gets the random bytes that the machine gives") {
    Fixture f;
    CHECK(f.rng.config().read(pci::reg::kDeviceId, 2) == 0x1044);
    const auto work = f.ask(64);
    CHECK(work.requests == std::vector{RngRequest{0, 64}});
    CHECK(work.interrupts.empty());
    const auto bytes = bytes_of(64);
    CHECK(f.rng.complete(f.dma, 0, bytes).size() == 1);
    CHECK(f.queue.take_used() == Used{0, 64});
    CHECK(std::ranges::equal(f.memory.find(kData, 64), bytes));
    CHECK(f.rng.complete(f.dma, 0, bytes).empty());
}

TEST_CASE("No request gets more than it asked for, or than one may have") {
    Fixture f;
    CHECK(f.ask(0x8000).requests.at(0).length == kMaxRngBytes);
    (void)f.rng.complete(f.dma, 0, bytes_of(0x8000));
    CHECK(f.queue.take_used()->written == kMaxRngBytes);
    CHECK(f.memory.find(kData + kMaxRngBytes, 1)[0] == std::byte{0});
    CHECK(f.ask(8).requests.at(0).length == 8);
    (void)f.rng.complete(f.dma, 1, bytes_of(3));
    CHECK(f.queue.take_used()->written == 3);
}

TEST_CASE("A chain to read from, or too many in flight, break the random source's queue") {
    Fixture f;
    (void)f.queue.add(std::array{Buffer{kData.value(), 8}});
    CHECK(f.rng.notify(f.dma, 0).requests.empty());
    CHECK_FALSE(f.rng.is_running());
    Fixture many;
    for (int i = 0; i < kQueueSize; ++i)
        CHECK(many.ask(8).requests.size() == 1);
    CHECK(many.ask(8).requests.empty());
    CHECK_FALSE(many.rng.is_running());
    CHECK(many.rng.complete(many.dma, 0, bytes_of(8)).empty());
    CHECK(many.memory.find(kData, 1)[0] == std::byte{0});
}

TEST_CASE("A reset forgets what the guest asked for") {
    Fixture f;
    (void)f.ask(8);
    f.queue = f.driver.start(feature::kVersion1, Gpa(0x8000), kQueueSize);
    CHECK(f.rng.in_flight().empty());
    CHECK(f.rng.complete(f.dma, 0, bytes_of(8)).empty());
    CHECK(f.ask(8).requests.at(0).id == 1);
}

TEST_CASE("A random source goes on from its state, and from no other") {
    Fixture f;
    (void)f.ask(8);
    (void)f.ask(16);
    const auto good = f.rng.state();
    auto restored = Rng::from_state(good);
    REQUIRE(restored);
    CHECK(restored->state() == good);
    CHECK(restored->complete(f.dma, 1, bytes_of(16)).size() == 1);
    CHECK(f.queue.take_used() == Used{1, 16});
    const auto refuses = [&good](auto wrong) {
        auto state = good;
        wrong(state);
        return !Rng::from_state(state);
    };
    CHECK(refuses([](auto& s) { s.next_id = 1; }));
    CHECK(refuses([](auto& s) { s.in_flight[1].request.id = 0; }));
    CHECK(refuses([](auto& s) { s.in_flight[0].head = kQueueSize; }));
    CHECK(refuses([](auto& s) { s.in_flight[0].request.length = 9; }));
    CHECK(refuses([](auto& s) { s.in_flight[0].writable.clear(); }));
    CHECK(refuses([](auto& s) { s.in_flight.resize(5, s.in_flight[0]); }));
    CHECK(refuses([](auto& s) { s.transport.status = 0; }));
}

}  // namespace
}  // namespace ftvmm::virtio
