#include "base/spsc_queue.h"

#include <cstdint>
#include <memory>
#include <thread>

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

TEST_CASE("A queue gives back what was put in, in order, and then nothing") {
    SpscQueue<int> queue(3);
    CHECK_FALSE(queue.try_pop());
    // Several times round the ring.
    for (int round = 0; round < 5; ++round) {
        CHECK(queue.try_push(int{round}));
        CHECK(queue.try_push(round + 100));
        CHECK(queue.size() == 2);
        CHECK(queue.try_pop() == round);
        CHECK(queue.try_pop() == round + 100);
        CHECK_FALSE(queue.try_pop());
    }
}

TEST_CASE("A full queue refuses a value and leaves it with the caller") {
    SpscQueue<std::unique_ptr<int>> queue(2);
    CHECK(queue.try_push(std::make_unique<int>(1)));
    CHECK(queue.try_push(std::make_unique<int>(2)));
    auto third = std::make_unique<int>(3);
    CHECK_FALSE(queue.try_push(std::move(third)));
    REQUIRE(third != nullptr);
    CHECK(**queue.try_pop() == 1);
    CHECK(queue.try_push(std::move(third)));
    CHECK(queue.size() == queue.capacity());
}

TEST_CASE("A popped value is released by the queue at once") {
    SpscQueue<std::shared_ptr<int>> queue(4);
    auto value = std::make_shared<int>(1);
    CHECK(queue.try_push(std::shared_ptr(value)));
    CHECK(value.use_count() == 2);
    queue.try_pop().reset();
    CHECK(value.use_count() == 1);
}

// Sends `values` numbers from one thread to another and counts those that arrive wrong.
std::uint64_t count_wrong(std::size_t capacity, std::uint64_t values) {
    struct Pair {
        std::uint64_t number;
        std::uint64_t complement;
    };
    SpscQueue<Pair> queue(capacity);
    std::jthread producer([&] {
        for (std::uint64_t i = 0; i < values; ++i) {
            while (!queue.try_push(Pair{i, ~i}))
                std::this_thread::yield();
        }
    });
    std::uint64_t wrong = 0;
    for (std::uint64_t i = 0; i < values; ++i) {
        auto pair = queue.try_pop();
        while (!pair) {
            std::this_thread::yield();
            pair = queue.try_pop();
        }
        if (pair->number != i || pair->complement != ~i) ++wrong;
    }
    return wrong;
}

TEST_CASE("Two threads: nothing is lost, doubled, reordered or torn") {
    // A full or empty queue yields the core, which on a busy machine costs a time slice: the small
    // queue carries few values, the large one many.
    CHECK(count_wrong(1, 100) == 0);
    CHECK(count_wrong(7, 500) == 0);
    CHECK(count_wrong(1000, 1000000) == 0);
}

}  // namespace
}  // namespace ftvmm
