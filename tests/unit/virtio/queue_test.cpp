#include "vmm/virtio/queue.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include "queue_fixture.h"

namespace ftvmm::virtio {
namespace {

using Fixture = testing::QueueFixture;
using testing::Buffer;
using testing::kAll;
using testing::kBuffers;
using testing::kIndirect;
using testing::kNext;
using testing::kTable;
using testing::kWrite;
using testing::peek;
using testing::poke;
using testing::Used;

void check_buffers(const std::optional<Chain>& chain) {
    REQUIRE(chain);
    CHECK(chain->readable == std::vector{Range{Gpa(0x1'1000), 16}, Range{Gpa(0x1'2000), 512}});
    CHECK(chain->writable == std::vector{Range{Gpa(0x1'3000), 1}});
}

TEST_CASE("A chain goes from the driver to the device and back") {
    Fixture f;
    CHECK_FALSE(f.queue.pop(f.dma));
    (void)f.driver.add(kBuffers);
    const std::uint16_t head = f.driver.add(kBuffers);
    check_buffers(f.queue.pop(f.dma));
    const auto second = f.queue.pop(f.dma);
    check_buffers(second);
    CHECK(second->head == head);
    CHECK_FALSE(f.queue.pop(f.dma));
    CHECK_FALSE(f.driver.take_used());
    f.queue.push_used(f.dma, second->head, 1);
    CHECK(f.driver.take_used() == Used{head, 1});
    CHECK_FALSE(f.driver.take_used());
    CHECK_FALSE(f.queue.is_broken());
}

TEST_CASE("An indirect chain reads as the same chain") {
    Fixture f(kAll);
    (void)f.driver.add_indirect(kBuffers, kTable);
    check_buffers(f.queue.pop(f.dma));
}

TEST_CASE("A chain may end in an indirect descriptor") {
    Fixture f(kAll);
    f.driver.set(0, {0x1'1000, 16, kNext, 1});
    f.driver.set(1, {kTable.value(), 32, kIndirect, 0});
    testing::write_descriptor(f.memory, kTable, 0, {0x1'2000, 512, kNext, 1});
    testing::write_descriptor(f.memory, kTable, 1, {0x1'3000, 1, kWrite, 0});
    f.driver.offer(0);
    check_buffers(f.queue.pop(f.dma));
}

TEST_CASE("A chain that was taken back is popped again") {
    Fixture f;
    const auto head = f.driver.add(kBuffers);
    REQUIRE(f.queue.pop(f.dma));
    f.queue.rewind(1);
    const auto again = f.queue.pop(f.dma);
    check_buffers(again);
    CHECK(again->head == head);
}

TEST_CASE("A queue that is off does nothing") {
    Fixture f;
    (void)f.driver.add(kBuffers);
    Queue off;
    CHECK_FALSE(off.pop(f.dma));
    off.push_used(f.dma, 0, 0);
    off.want_notification(f.dma);
    CHECK_FALSE(off.needs_interrupt(f.dma));
    CHECK(f.dma.take_written_pages().empty());
    f.queue.reset();
    CHECK_FALSE(f.queue.pop(f.dma));
    CHECK(f.queue.state() == Queue::State{});
}

TEST_CASE("The two indices wrap at 65536, at any power of two up to 256") {
    for (const std::uint16_t size : std::to_array<std::uint16_t>({1, 2, 256})) {
        for (const QueueFeatures& features : {QueueFeatures{}, kAll}) {
            Fixture f(features, size);
            const std::array one{Buffer{0x1'1000, 16}};
            bool right = true;
            for (std::uint32_t i = 0; i < 0x1'0000U + 10; ++i) {
                poke(f.memory, f.driver.used_event(), static_cast<std::uint16_t>(i));
                const auto head = f.driver.add(one);
                const auto chain = f.queue.pop(f.dma);
                if (!chain) break;
                f.queue.push_used(f.dma, chain->head, i);
                f.queue.want_notification(f.dma);
                right = right && f.driver.take_used() == Used{head, i} &&
                        f.queue.needs_interrupt(f.dma);
            }
            CHECK(right);
            CHECK(f.queue.state().next_available == 10);
            CHECK(f.queue.state().next_used == 10);
        }
    }
}

TEST_CASE("Without EVENT_IDX a flag of the driver's keeps interrupts away") {
    Fixture f;
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    (void)f.driver.add(kBuffers);
    (void)f.driver.add(kBuffers);
    f.queue.push_used(f.dma, f.queue.pop(f.dma)->head, 0);
    CHECK(f.queue.needs_interrupt(f.dma));
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    poke(f.memory, f.driver.available(), std::uint16_t{1});
    f.queue.push_used(f.dma, f.queue.pop(f.dma)->head, 0);
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    f.queue.want_notification(f.dma);
    CHECK(peek<std::uint16_t>(f.memory, f.driver.available_event()) == 0);
}

TEST_CASE("With EVENT_IDX the driver is interrupted when its event is passed") {
    Fixture f(kAll);
    poke(f.memory, f.driver.available(), std::uint16_t{1});  // Means nothing with EVENT_IDX.
    poke(f.memory, f.driver.used_event(), std::uint16_t{1});
    f.queue.push_used(f.dma, 0, 0);
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    f.queue.push_used(f.dma, 1, 0);
    CHECK(f.queue.needs_interrupt(f.dma));
    f.queue.push_used(f.dma, 2, 0);
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    poke(f.memory, f.driver.used_event(), std::uint16_t{4});
    f.queue.push_used(f.dma, 3, 0);
    f.queue.push_used(f.dma, 4, 0);
    f.queue.push_used(f.dma, 5, 0);
    CHECK(f.queue.needs_interrupt(f.dma));
}

TEST_CASE("With EVENT_IDX the driver is asked to notify for its next chain") {
    Fixture f(kAll);
    (void)f.driver.add(kBuffers);
    (void)f.driver.add(kBuffers);
    f.queue.want_notification(f.dma);
    CHECK(peek<std::uint16_t>(f.memory, f.driver.available_event()) == 2);
}

TEST_CASE("A full ring is no jump") {
    Fixture f;
    f.driver.set(0, {0x1'1000, 16, 0, 0});
    f.driver.set_available_index(8);
    for (int i = 0; i < 8; ++i)
        CHECK(f.queue.pop(f.dma));
    CHECK_FALSE(f.queue.pop(f.dma));
    CHECK_FALSE(f.queue.is_broken());
}

TEST_CASE("The longest chain is as long as the largest queue") {
    Fixture f(kAll);
    const std::vector<Buffer> buffers(kMaxQueueSize, Buffer{0x4000, 16});
    (void)f.driver.add_indirect(buffers, kTable);
    const auto chain = f.queue.pop(f.dma);
    REQUIRE(chain);
    CHECK(chain->readable.size() == kMaxQueueSize);
}

TEST_CASE("A queue's size is a power of two up to 256") {
    Queue queue;
    for (const auto size : std::to_array<std::uint16_t>({0, 3, 255, 257, 512, 0x8000, 0xffff})) {
        queue.set_size(size);
        CHECK(queue.state().size == kMaxQueueSize);
        Queue::State state;
        state.size = size;
        CHECK_FALSE(Queue::from_state(state));
    }
    queue.set_size(1);
    CHECK(queue.state().size == 1);
}

TEST_CASE("A queue goes on from its state") {
    Fixture f(kAll);
    (void)f.driver.add(kBuffers);
    const auto head = f.driver.add(kBuffers);
    f.queue.push_used(f.dma, f.queue.pop(f.dma)->head, 0);
    auto restored = Queue::from_state(f.queue.state());
    REQUIRE(restored);
    CHECK(restored->state() == f.queue.state());
    CHECK(restored->needs_interrupt(f.dma));
    const auto chain = restored->pop(f.dma);
    check_buffers(chain);
    CHECK(chain->head == head);
}

}  // namespace
}  // namespace ftvmm::virtio
