#include "vmm/virtio/transport.h"

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
namespace common = testing::common;

constexpr std::uint64_t kMemoryBytes = 0x2'0000;
constexpr Gpa kBase{0x4000};
constexpr std::uint64_t kOwnFeature = 1;
constexpr std::uint64_t kFeatures = kOwnFeature | feature::kVersion1 | feature::kEventIdx;
constexpr std::uint8_t kRunning =
    status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk;

// Gives every chain back as it is.
class Returner final : public Transport {
  public:
    Returner()
        : Transport({.id = 42,
                     .class_code = 0xff'0000,
                     .features = kOwnFeature,
                     .queues = 2,
                     .config_bytes = 8}) {
        pci::store_at(device_config(), 0, std::uint64_t{0x1122'3344'5566'7788});
    }

    Interrupts notify(Dma& dma, std::uint16_t index) {
        if (!may_work(index)) return {};
        while (const auto chain = queue(index).pop(dma))
            queue(index).push_used(dma, chain->head, 7);
        queue(index).want_notification(dma);
        Interrupts interrupts;
        finish(dma, index, interrupts);
        return interrupts;
    }
    Interrupts change(std::byte value) { return change_config(7, std::span(&value, 1)); }
    Result<void> take_over(const State& state) { return restore(state); }
    [[nodiscard]] int resets() const { return resets_; }

  private:
    void on_reset() override { ++resets_; }
    int resets_ = 0;
};

struct Fixture {
    GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma{memory};
    Returner device;
    Driver driver{memory, device};
};

constexpr std::array kBuffers{Buffer{0x1'1000, 16}};

pci::MsiMessage message(std::uint32_t vector) {
    return {0xfee0'0000, Driver::kFirstData + vector};
}

TEST_CASE("A device shows what it is") {
    Fixture f;
    const auto& config = f.device.config();
    CHECK(config.read(pci::reg::kVendorId, 4) == 0x106a'1af4);
    CHECK(config.read(pci::reg::kRevision, 4) == 0xff00'0001);
    CHECK(f.driver.offered() == (kFeatures | feature::kIndirect));
    f.driver.write(common::kDeviceFeatureSelect, 4, 2);
    CHECK(f.driver.read(common::kDeviceFeature, 4) == 0);
    CHECK(f.driver.read(common::kQueueCount, 2) == 2);
    CHECK(f.driver.read(kDeviceOffset, 4) == 0x5566'7788);
    CHECK(f.driver.read(kDeviceOffset + 4, 1) == 0x44);
    CHECK(f.driver.read(kDeviceOffset + 6, 4) == 0);
    f.driver.write(common::kQueueSelect, 2, 1);
    CHECK(f.driver.read(common::kQueueSize, 2) == kMaxQueueSize);
    f.driver.write(common::kQueueSelect, 2, 2);
    CHECK(f.driver.read(common::kQueueSize, 2) == 0);
}

TEST_CASE("The five structures of virtio are in the list of capabilities") {
    Fixture f;
    const auto& config = f.device.config();
    const auto field = [&config](std::uint32_t at, std::uint8_t size) {
        return config.read(static_cast<std::uint16_t>(at), size);
    };
    std::vector<std::uint32_t> types;
    for (std::uint32_t at = field(pci::reg::kCapabilities, 1); at != 0; at = field(at + 1, 1)) {
        if (field(at, 1) != 0x09) continue;
        types.push_back(field(at + 3, 1));
        if (types.back() == 2) CHECK(field(at + 4, 1) == kDoorbellBar);
        if (types.back() == 4) CHECK(field(at + 8, 4) == kDeviceOffset);
    }
    CHECK(types == std::vector<std::uint32_t>{1, 2, 3, 4, 5});
}

TEST_CASE("Set up as Linux does it, a device runs") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    CHECK(f.driver.status() == kRunning);
    CHECK(f.device.is_running());
    CHECK(f.device.negotiated() == kFeatures);
    const auto head = queue.add(kBuffers);
    CHECK(f.driver.ring(0) == std::uint16_t{0});
    CHECK(f.device.notify(f.dma, 0) == Interrupts{message(1)});
    CHECK(queue.take_used() == Used{head, 7});
    CHECK(f.device.notify(f.dma, 0).empty());
}

TEST_CASE("Features that were not offered, or none of version 1, are refused") {
    Fixture f;
    CHECK_FALSE(f.driver.negotiate(feature::kVersion1 | 2));
    CHECK_FALSE(f.driver.negotiate(feature::kVersion1 | std::uint64_t{1} << 40U));
    CHECK_FALSE(f.driver.negotiate(kOwnFeature));
    CHECK(f.device.negotiated() == 0);
    f.driver.add_status(status::kDriverOk);
    CHECK_FALSE(f.device.is_running());
    CHECK(f.driver.negotiate(feature::kVersion1));
    f.driver.write(common::kDriverFeature, 4, 0xffff'ffff);  // Too late.
    CHECK(f.device.negotiated() == feature::kVersion1);
}

TEST_CASE("Only a reset takes status bits back, and it forgets all but PCI's own") {
    Fixture f;
    (void)f.driver.start(kFeatures, kBase, 8);
    f.driver.write(common::kStatus, 1, status::kAcknowledge);
    CHECK(f.driver.status() == kRunning);
    f.driver.write(common::kStatus, 1, 0xff);
    CHECK(f.driver.status() == (kRunning | status::kFailed));
    CHECK(f.device.resets() == 1);
    f.driver.write(common::kStatus, 1, 0);
    CHECK(f.device.resets() == 2);
    CHECK(f.driver.status() == 0);
    CHECK(f.driver.read(common::kQueueEnable, 2) == 0);
    CHECK(f.driver.read(common::kQueueVector, 2) == kNoVector);
    CHECK(f.driver.read(common::kConfigVector, 2) == kNoVector);
    CHECK(f.driver.read(common::kQueueUsed, 8) == 0);
    CHECK(f.device.transport_state().queues[0] == Queue::State{});
    CHECK(f.device.config().is_bus_master());
    CHECK(f.driver.read(kMsixTableOffset + 8, 4) == Driver::kFirstData);
}

TEST_CASE("A broken queue asks for a reset, once, and nothing runs until then") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    (void)queue.add(std::array{Buffer{kMemoryBytes, 16}});
    CHECK(f.device.notify(f.dma, 0) == Interrupts{message(0)});
    CHECK(f.driver.status() == (kRunning | status::kNeedsReset));
    CHECK_FALSE(f.device.is_running());
    CHECK_FALSE(f.driver.ring(0));
    CHECK(f.device.notify(f.dma, 0).empty());
    CHECK(f.device.change(std::byte{1}).empty());

    queue = f.driver.start(kFeatures, kBase + 2 * testing::kQueueBytes, 8);
    CHECK(f.driver.status() == kRunning);
    (void)queue.add(kBuffers);
    CHECK(f.device.notify(f.dma, 0) == Interrupts{message(1)});
}

TEST_CASE("Rings that are not aligned ask for a reset at the first doorbell") {
    Fixture f;
    (void)f.driver.start(kFeatures, kBase + 8, 8);
    CHECK(f.driver.ring(0) == std::uint16_t{0});
    CHECK(f.device.notify(f.dma, 0) == Interrupts{message(0)});
    CHECK((f.driver.status() & status::kNeedsReset) != 0);
    CHECK(f.dma.take_written_pages().empty());
}

TEST_CASE("An enabled queue stays as it was set up") {
    Fixture f;
    (void)f.driver.start(kFeatures, kBase, 8);
    const auto before = f.device.transport_state().queues;
    f.driver.write(common::kQueueSize, 2, 16);
    f.driver.write(common::kQueueDescriptors, 8, 0);
    f.driver.write(common::kQueueAvailable, 4, 0);
    f.driver.write(common::kQueueUsed, 8, 0x1000);
    f.driver.write(common::kQueueEnable, 2, 0);
    CHECK(f.device.transport_state().queues == before);
}

TEST_CASE("A vector that is not in the table is no vector") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    for (const std::uint32_t vector : {3U, 0xfffeU, 0xffffU}) {
        f.driver.write(common::kConfigVector, 2, vector);
        CHECK(f.driver.read(common::kConfigVector, 2) == kNoVector);
        f.driver.write(common::kQueueVector, 2, vector);
        CHECK(f.driver.read(common::kQueueVector, 2) == kNoVector);
    }
    (void)queue.add(kBuffers);
    CHECK(f.device.notify(f.dma, 0).empty());
    f.driver.write(common::kQueueVector, 2, 2);
    testing::poke(f.memory, queue.used_event(), std::uint16_t{1});
    (void)queue.add(kBuffers);
    CHECK(f.device.notify(f.dma, 0) == Interrupts{message(2)});
}

TEST_CASE("A masked vector waits until the driver unmasks it") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    f.driver.write(kMsixTableOffset + 16 + 12, 4, 1);
    (void)queue.add(kBuffers);
    CHECK(f.device.notify(f.dma, 0).empty());
    CHECK(f.driver.read(kMsixPendingOffset, 8) == 2);
    const auto effects = f.device.write_bar(kMemoryBar, kMsixTableOffset + 16 + 12, 4, 0);
    CHECK(effects.messages == Interrupts{message(1)});
}

TEST_CASE("Without MSI-X the ISR tells, and reading it clears it") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    (void)f.device.write_config(f.driver.msix_control(), 2, 0);
    (void)queue.add(kBuffers);
    CHECK(f.device.notify(f.dma, 0).empty());
    CHECK(f.device.change(std::byte{9}).empty());
    CHECK(f.driver.read(kIsrOffset, 1) == 3);
    CHECK(f.driver.read(kIsrOffset, 1) == 0);
}

TEST_CASE("A change of the configuration shows as a new generation and an interrupt") {
    Fixture f;
    const auto generation = f.driver.read(common::kGeneration, 1);
    CHECK(f.device.change(std::byte{1}).empty());
    (void)f.driver.start(kFeatures, kBase, 8);
    CHECK(f.device.change(std::byte{2}) == Interrupts{message(0)});
    CHECK(f.driver.read(common::kGeneration, 1) == generation + 2);
    CHECK(f.driver.read(kDeviceOffset + 7, 1) == 2);
    f.driver.write(kDeviceOffset, 8, 0);
    CHECK(f.driver.read(kDeviceOffset + 7, 1) == 2);
}

TEST_CASE("A doorbell is an effect, for a queue that can be worked on alone") {
    Fixture f;
    CHECK_FALSE(f.driver.ring(0));
    (void)f.driver.start(kFeatures, kBase, 8);
    CHECK(f.driver.ring(0) == std::uint16_t{0});
    CHECK_FALSE(f.driver.ring(1));
    CHECK_FALSE(f.driver.ring(2));
    CHECK(f.device.write_bar(kDoorbellBar, 0, 4, 0).doorbell == std::uint16_t{0});
    CHECK_FALSE(f.device.write_bar(kDoorbellBar, 2, 2, 0).doorbell);
    CHECK_FALSE(f.device.write_bar(kDoorbellBar, 0, 1, 0).doorbell);
    (void)f.device.write_config(pci::reg::kCommand, 2, pci::command::kIo);
    CHECK_FALSE(f.driver.ring(0));
    CHECK(f.device.notify(f.dma, 0).empty());
}

TEST_CASE("The window in configuration space reaches what the BARs do") {
    Fixture f;
    const auto window = [&f](std::uint32_t bar, std::uint32_t offset, std::uint32_t length) {
        std::uint32_t at = f.device.config().read(pci::reg::kCapabilities, 1);
        while (f.device.config().read(static_cast<std::uint16_t>(at), 1) != 0x09 ||
               f.device.config().read(static_cast<std::uint16_t>(at + 3), 1) != 5)
            at = f.device.config().read(static_cast<std::uint16_t>(at + 1), 1);
        (void)f.device.write_config(static_cast<std::uint16_t>(at + 4), 1, bar);
        (void)f.device.write_config(static_cast<std::uint16_t>(at + 8), 4, offset);
        (void)f.device.write_config(static_cast<std::uint16_t>(at + 12), 4, length);
        return static_cast<std::uint16_t>(at + 16);
    };
    const auto data = window(kMemoryBar, common::kQueueCount, 2);
    CHECK(f.device.read_config(data, 2) == 2);
    CHECK(f.device.read_config(data, 4) == 0);
    (void)window(kMemoryBar, kDeviceOffset, 4);
    CHECK(f.device.read_config(data, 4) == 0x5566'7788);
    for (const auto& [bar, offset, length] : {std::tuple{0U, kMemoryBarBytes, 4U},
                                              {2U, 0U, 4U},
                                              {0U, 2U, 4U},
                                              {0U, 0U, 8U},
                                              {0U, 0xffff'fffcU, 4U},
                                              {0U, 0U, 0x104U}}) {
        (void)window(bar, offset, length);
        CHECK(f.device.read_config(data, 4) == 0);
    }
    (void)f.driver.start(kFeatures, kBase, 8);
    (void)window(kDoorbellBar, 0, 2);
    CHECK(f.device.write_config(data, 2, 0).doorbell == std::uint16_t{0});
}

TEST_CASE("A device goes on from its state") {
    Fixture f;
    DriverQueue queue = f.driver.start(kFeatures, kBase, 8);
    (void)queue.add(kBuffers);
    (void)f.device.notify(f.dma, 0);
    (void)f.device.change(std::byte{5});
    Returner other;
    REQUIRE(other.take_over(f.device.transport_state()));
    CHECK(other.transport_state() == f.device.transport_state());
    testing::poke(f.memory, queue.used_event(), std::uint16_t{1});
    (void)queue.add(kBuffers);
    CHECK(other.notify(f.dma, 0) == Interrupts{message(1)});
}

TEST_CASE("A state that no device can be in is refused") {
    Fixture f;
    (void)f.driver.start(kFeatures, kBase, 8);
    const auto good = f.device.transport_state();
    const auto refuses = [&good](auto wrong) {
        auto state = good;
        wrong(state);
        Returner other;
        const bool refused = !other.take_over(state);
        return refused && other.transport_state() == Returner().transport_state();
    };
    CHECK(refuses([](auto& s) { s.queues.pop_back(); }));
    CHECK(refuses([](auto& s) { s.queue_vectors.push_back(0); }));
    CHECK(refuses([](auto& s) { s.device_config.pop_back(); }));
    CHECK(refuses([](auto& s) { s.config_vector = 3; }));
    CHECK(refuses([](auto& s) { s.queue_vectors[1] = 3; }));
    CHECK(refuses([](auto& s) { s.status |= 0x10; }));
    CHECK(refuses([](auto& s) { s.status &= static_cast<std::uint8_t>(~status::kFeaturesOk); }));
    CHECK(refuses([](auto& s) { s.isr = 4; }));
    CHECK(refuses([](auto& s) { s.driver_features |= 2; }));
    CHECK(refuses([](auto& s) { s.driver_features &= ~feature::kVersion1; }));
    CHECK(refuses([](auto& s) { s.queues[0].size = 3; }));
    CHECK(refuses([](auto& s) { s.queues[0].used = Gpa(1); }));
    CHECK(refuses([](auto& s) { s.config.bytes[0] = std::byte{1}; }));
    CHECK(refuses([](auto& s) { s.msix.entries.pop_back(); }));
}

TEST_CASE("No accesses, from any seed, break the transport or its state") {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        INFO("seed " << seed);
        SeededEntropy entropy(seed);
        Fixture f;
        entropy.fill(f.memory.bytes());
        if (entropy.below(2) != 0) (void)f.driver.start(kFeatures, kBase, 8);
        for (int step = 0; step < 500; ++step) {
            const auto size = static_cast<std::uint8_t>(1U << entropy.below(4));
            const auto bar = static_cast<std::uint8_t>(entropy.below(2));
            const auto range = bar == kDoorbellBar ? kDoorbellBarBytes : kMemoryBarBytes;
            const auto near = entropy.below(4) != 0 ? 64U : range;
            const auto offset =
                static_cast<std::uint32_t>(entropy.below(std::min(near, range)) & ~(size - 1ULL));
            const auto value = entropy.below(3) != 0 ? entropy.below(16) : entropy.next_u64();
            (void)f.device.write_bar(bar, offset, size, value);
            (void)f.device.read_bar(bar, offset, size);
            const auto index = static_cast<std::uint16_t>(entropy.below(3));
            (void)f.device.notify(f.dma, index);
            (void)f.device.write_config(static_cast<std::uint16_t>(entropy.below(64) * 4), 4,
                                        static_cast<std::uint32_t>(value));
        }
        Returner other;
        REQUIRE(other.take_over(f.device.transport_state()));
        CHECK(other.transport_state() == f.device.transport_state());
    }
}

}  // namespace
}  // namespace ftvmm::virtio
