// What no driver may write into a queue.
#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "queue_fixture.h"
#include "vmm/virtio/queue.h"

namespace ftvmm::virtio {
namespace {

using Fixture = testing::QueueFixture;
using testing::kAll;
using testing::kBuffers;
using testing::kIndirect;
using testing::kMemoryBytes;
using testing::kNext;
using testing::kTable;
using testing::kWrite;

// Each writes what no driver may into the fixture's queue.
struct Nonsense {
    const char* what;
    std::function<void(Fixture&)> write;
};

std::vector<Nonsense> bad_chains() {
    return {
        {"a chain that loops",
         [](Fixture& f) {
             f.driver.set(0, {0x1'1000, 16, kNext, 1});
             f.driver.set(1, {0x1'1000, 16, kNext, 0});
         }},
        {"a descriptor that follows itself",
         [](Fixture& f) {
             f.driver.set(0, {0x1'1000, 16, kNext, 0});
         }},
        {"a next descriptor past the table",
         [](Fixture& f) {
             f.driver.set(0, {0x1'1000, 16, kNext, 8});
         }},
        {"a buffer past memory",
         [](Fixture& f) {
             f.driver.set(0, {kMemoryBytes, 1, 0, 0});
         }},
        {"a buffer that crosses the end of memory",
         [](Fixture& f) {
             f.driver.set(0, {kMemoryBytes - 1, 2, kWrite, 0});
         }},
        {"a buffer that wraps around the address space",
         [](Fixture& f) {
             f.driver.set(0, {~std::uint64_t{0}, 2, 0, 0});
         }},
        {"a buffer of 4 GiB less one",
         [](Fixture& f) {
             f.driver.set(0, {0, 0xffff'ffff, kWrite, 0});
         }},
        {"a buffer of no bytes",
         [](Fixture& f) {
             f.driver.set(0, {0x1'1000, 0, 0, 0});
         }},
        {"a readable buffer behind a writable one",
         [](Fixture& f) {
             f.driver.set(0, {0x1'1000, 16, kNext | kWrite, 1});
             f.driver.set(1, {0x1'2000, 16, 0, 0});
         }},
    };
}

std::vector<Nonsense> bad_tables() {
    const auto table = [](Fixture& f, std::uint32_t index, const testing::Descriptor& entry) {
        testing::write_descriptor(f.memory, kTable, index, entry);
    };
    return {
        {"an indirect table of no entries",
         [](Fixture& f) {
             f.driver.set(0, {kTable.value(), 0, kIndirect, 0});
         }},
        {"an indirect table of half an entry",
         [](Fixture& f) {
             f.driver.set(0, {kTable.value(), 24, kIndirect, 0});
         }},
        {"an indirect table past memory",
         [](Fixture& f) {
             f.driver.set(0, {kMemoryBytes - 16, 32, kIndirect, 0});
         }},
        {"an indirect descriptor with a next one",
         [=](Fixture& f) {
             f.driver.set(0, {kTable.value(), 16, kIndirect | kNext, 1});
             f.driver.set(1, {0x1'1000, 16, 0, 0});
             table(f, 0, {0x1'1000, 16, 0, 0});
         }},
        {"an indirect table in an indirect table",
         [=](Fixture& f) {
             f.driver.set(0, {kTable.value(), 16, kIndirect, 0});
             table(f, 0, {kTable.value() + 32, 16, kIndirect, 0});
             table(f, 2, {0x1'1000, 16, 0, 0});
         }},
        {"a next descriptor past the indirect table",
         [=](Fixture& f) {
             f.driver.set(0, {kTable.value(), 16, kIndirect, 0});
             table(f, 0, {0x1'1000, 16, kNext, 1});
             table(f, 1, {0x1'1000, 16, 0, 0});
         }},
        {"a loop in an indirect table",
         [=](Fixture& f) {
             f.driver.set(0, {kTable.value(), 16, kIndirect, 0});
             table(f, 0, {0x1'1000, 16, kNext, 0});
         }},
        {"a chain of 257 buffers",
         [=](Fixture& f) {
             f.driver.set(0, {kTable.value(), 16 * 257, kIndirect, 0});
             for (std::uint16_t i = 0; i < 257; ++i) {
                 const auto flags = static_cast<std::uint16_t>(i == 256 ? 0 : kNext);
                 table(f, i, {0x4000, 16, flags, static_cast<std::uint16_t>(i + 1)});
             }
         }},
    };
}

// After it broke, the queue leaves memory alone and gives nothing more.
void check_broken(Fixture& f) {
    const std::vector<std::byte> before(f.memory.bytes().begin(), f.memory.bytes().end());
    CHECK_FALSE(f.queue.pop(f.dma));
    CHECK(f.queue.is_broken());
    CHECK_FALSE(f.queue.pop(f.dma));
    f.queue.push_used(f.dma, 0, 1);
    f.queue.want_notification(f.dma);
    CHECK_FALSE(f.queue.needs_interrupt(f.dma));
    CHECK(std::ranges::equal(before, f.memory.bytes()));
    CHECK(f.dma.take_written_pages().empty());
}

TEST_CASE("A chain that makes no sense breaks the queue") {
    for (const auto& cases : {bad_chains(), bad_tables()}) {
        for (const Nonsense& nonsense : cases) {
            INFO(nonsense.what);
            Fixture f(kAll);
            nonsense.write(f);
            f.driver.offer(0);
            check_broken(f);
        }
    }
}

TEST_CASE("An indirect descriptor that was not negotiated breaks the queue") {
    Fixture f;
    (void)f.driver.add_indirect(kBuffers, kTable);
    check_broken(f);
}

TEST_CASE("A head past the table, or an index that jumps, breaks the queue") {
    Fixture head;
    head.driver.offer(8);
    check_broken(head);
    Fixture jump;
    jump.driver.set(0, {0x1'1000, 16, 0, 0});
    jump.driver.set_available_index(9);
    check_broken(jump);
    Fixture back;
    back.driver.set_available_index(0xffff);
    check_broken(back);
}

TEST_CASE("Rings that are not aligned or wrap break the queue as it starts") {
    constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
    const std::vector<std::function<void(Queue&)>> wrongs{
        [](Queue& queue) { queue.set_descriptors(Gpa(8)); },
        [](Queue& queue) { queue.set_available(Gpa(1)); },
        [](Queue& queue) { queue.set_used(Gpa(2)); },
        [](Queue& queue) { queue.set_descriptors(Gpa(kMax - 15)); },
        [](Queue& queue) { queue.set_available(Gpa(kMax - 1)); },
        [](Queue& queue) { queue.set_used(Gpa(kMax - 3)); },
    };
    for (const auto& wrong : wrongs) {
        Queue queue;
        wrong(queue);
        queue.enable({});
        CHECK(queue.is_broken());
        auto state = queue.state();
        state.broken = false;
        CHECK_FALSE(Queue::from_state(state));
    }
}

TEST_CASE("Rings outside memory break the queue when it reaches for them") {
    Fixture f;
    auto state = f.queue.state();
    state.available = Gpa(kMemoryBytes);
    auto queue = Queue::from_state(state);
    REQUIRE(queue);
    CHECK_FALSE(queue->pop(f.dma));
    CHECK(queue->is_broken());
    state = f.queue.state();
    state.used = Gpa(kMemoryBytes - 8);  // Its index is in memory, its first entry is not.
    queue = Queue::from_state(state);
    REQUIRE(queue);
    queue->push_used(f.dma, 0, 0);
    CHECK(queue->is_broken());
    CHECK(f.dma.take_written_pages().empty());
}

// A queue somewhere in memory that is mostly noise, with enough sense in it that chains come out.
class Storm {
  public:
    explicit Storm(std::uint64_t seed) : entropy_(seed) {
        entropy_.fill(memory_.bytes());
        Queue::State state;
        state.size = static_cast<std::uint16_t>(1U << entropy_.below(9));
        state.descriptors = Gpa(16 * entropy_.below(kMemoryBytes / 16 + 8));
        state.available = Gpa(2 * entropy_.below(kMemoryBytes / 2 + 8));
        state.used = Gpa(4 * entropy_.below(kMemoryBytes / 4 + 8));
        state.enabled = true;
        state.features = {entropy_.below(2) != 0, entropy_.below(2) != 0};
        state.next_available = static_cast<std::uint16_t>(entropy_.next_u64());
        state.next_used = static_cast<std::uint16_t>(entropy_.next_u64());
        queue_ = *Queue::from_state(state);
    }

    void step() {
        if (entropy_.below(4) != 0) write_sense();
        const std::vector<std::byte> before(memory_.bytes().begin(), memory_.bytes().end());
        for (std::uint64_t pops = entropy_.below(4); pops > 0; --pops) {
            if (const auto chain = queue_.pop(dma_)) take(*chain);
        }
        queue_.want_notification(dma_);
        (void)queue_.needs_interrupt(dma_);
        check_untouched(before);
    }
    [[nodiscard]] std::uint64_t chains() const { return chains_; }

  private:
    bool poke_u16(Gpa address, std::uint64_t value) {
        const std::array bytes{static_cast<std::byte>(value), static_cast<std::byte>(value >> 8U)};
        return memory_.write(address, bytes);
    }
    void write_sense() {
        const Queue::State& state = queue_.state();
        (void)poke_u16(state.available + 2, state.next_available + entropy_.below(state.size) + 1);
        for (std::uint64_t i = 0; i < state.size; ++i) {
            (void)poke_u16(state.available + (4 + 2 * i), entropy_.below(state.size));
            std::array<std::byte, 16> entry{};
            pci::store_at(std::span(entry), 0, entropy_.below(kMemoryBytes));
            pci::store_at(std::span(entry), 8,
                          static_cast<std::uint32_t>(1 + entropy_.below(0x1000)));
            pci::store_at(std::span(entry), 12,
                          static_cast<std::uint16_t>(entropy_.below(16) == 0 ? entropy_.below(8)
                                                                             : entropy_.below(2)));
            pci::store_at(std::span(entry), 14,
                          static_cast<std::uint16_t>(entropy_.below(state.size + 1U)));
            (void)memory_.write(state.descriptors + 16 * i, entry);
        }
    }
    void take(const Chain& chain) {
        ++chains_;
        REQUIRE(chain.readable.size() + chain.writable.size() <= kMaxQueueSize);
        for (const auto& ranges : {chain.readable, chain.writable}) {
            for (const Range& range : ranges)
                REQUIRE(dma_.contains(range.address, range.length));
        }
        queue_.push_used(dma_, chain.head, static_cast<std::uint32_t>(entropy_.next_u64()));
    }
    // The device wrote the used ring alone, and said which pages.
    void check_untouched(std::span<const std::byte> before) {
        const std::uint64_t start = queue_.state().used.value();
        const std::uint64_t end = start + 6 + std::uint64_t{8} * queue_.state().size;
        const auto pages = dma_.take_written_pages();
        for (std::uint64_t at = 0; at < kMemoryBytes; ++at) {
            if (before[at] == memory_.bytes()[at]) continue;
            REQUIRE((at >= start && at < end));
            REQUIRE(std::ranges::count(pages, at / kPageBytes) == 1);
        }
    }

    SeededEntropy entropy_;
    GuestMemory memory_ = testing::make_memory(kMemoryBytes);
    Dma dma_{memory_};
    Queue queue_;
    std::uint64_t chains_ = 0;
};

TEST_CASE("No rings and descriptors, from any seed, make a queue touch more than its used ring") {
    std::uint64_t chains = 0;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        INFO("seed " << seed);
        Storm storm(seed);
        for (int step = 0; step < 10; ++step)
            storm.step();
        chains += storm.chains();
    }
    CHECK(chains > 100);
}

}  // namespace
}  // namespace ftvmm::virtio
