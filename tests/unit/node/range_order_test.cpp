#include "node/range_order.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"

namespace ftvmm::node {
namespace {

constexpr DiskRange kWriteA{0, 1024, true};
constexpr DiskRange kReadA{0, 1024, false};
constexpr DiskRange kFlush{};

TEST_CASE("Reads of the same bytes run together, and so do writes side by side") {
    RangeOrder order;
    CHECK(order.add(1, kReadA));
    CHECK(order.add(2, kReadA));
    CHECK(order.add(3, {1024, 512, true}));
    CHECK(order.add(4, {1536, 512, true}));
    CHECK(order.add(5, kFlush));
}

TEST_CASE("What overlaps a change waits for it, by a single byte too") {
    RangeOrder order;
    CHECK(order.add(1, {512, 512, true}));
    CHECK_FALSE(order.add(2, {1023, 1, false}));
    CHECK_FALSE(order.add(3, {0, 513, true}));
    CHECK_FALSE(order.add(4, {0, 4096, false}));
    CHECK(order.add(5, {1024, 512, false}));
    CHECK(order.end(1) == std::vector<std::uint64_t>{2, 3});
    // The read of all still waits for the write before it.
    CHECK(order.end(2).empty());
    CHECK(order.end(3) == std::vector<std::uint64_t>{4});
}

TEST_CASE("Nobody overtakes one that is held and races with him") {
    RangeOrder order;
    CHECK(order.add(1, kReadA));
    CHECK_FALSE(order.add(2, kWriteA));
    // It races with nothing that runs, but would read what the held write is to change.
    CHECK_FALSE(order.add(3, kReadA));
    CHECK(order.end(1) == std::vector<std::uint64_t>{2});
    CHECK(order.end(2) == std::vector<std::uint64_t>{3});
}

TEST_CASE("A flush neither waits nor is waited for") {
    RangeOrder order;
    CHECK(order.add(1, kWriteA));
    CHECK(order.add(2, kFlush));
    CHECK(order.add(3, {2048, 512, true}));
}

TEST_CASE("The end of the address space does not wrap around") {
    RangeOrder order;
    constexpr std::uint64_t kTop = ~std::uint64_t{0};
    CHECK(order.add(1, {kTop - 511, 1024, true}));
    CHECK(order.add(2, {0, 512, true}));
    CHECK_FALSE(order.add(3, {kTop - 1, 1, false}));
}

// Whatever the order of the ends, each cell is written in the order of arrival.
TEST_CASE("Every cell sees its requests in the order of their arrival") {
    SeededEntropy entropy(11);
    RangeOrder order;
    std::map<std::uint64_t, DiskRange> all;
    std::vector<std::uint64_t> running;
    std::array<std::uint64_t, 16> last_write{};
    const auto start = [&](std::uint64_t id) {
        const DiskRange& range = all.at(id);
        for (std::uint64_t cell = range.offset; cell < range.offset + range.length; ++cell) {
            REQUIRE(last_write.at(cell) < id);
            if (range.changes) last_write.at(cell) = id;
        }
        running.push_back(id);
    };
    std::uint64_t ended = 0;
    for (std::uint64_t id = 1; ended < 5000;) {
        if (id <= 5000 && (running.empty() || entropy.below(2) == 0)) {
            const std::uint64_t offset = entropy.below(16);
            all[id] = {offset, entropy.below(17 - offset), entropy.below(2) == 0};
            if (order.add(id, all[id])) start(id);
            ++id;
        } else {
            const auto at =
                running.begin() + static_cast<std::ptrdiff_t>(entropy.below(running.size()));
            const std::uint64_t chosen = *at;
            running.erase(at);
            for (const std::uint64_t freed : order.end(chosen))
                start(freed);
            ++ended;
        }
        REQUIRE(order.size() >= running.size());
        REQUIRE((!running.empty() || order.size() == 0));
    }
}

}  // namespace
}  // namespace ftvmm::node
