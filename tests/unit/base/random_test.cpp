#include "base/random.h"

#include <array>

#include <catch2/catch.hpp>

#include "base/clock.h"

namespace ftvmm {
namespace {

TEST_CASE("Seeded entropy is the published SplitMix64 sequence") {
    // Reference values of SplitMix64 for seed 1234567, as its authors' C code prints them.
    SeededEntropy entropy(1234567);
    CHECK(entropy.next_u64() == 6457827717110365317U);
    CHECK(entropy.next_u64() == 3203168211198807973U);
    CHECK(entropy.next_u64() == 9817491932198370423U);
}

TEST_CASE("below() stays below and reaches every value") {
    SeededEntropy entropy(1);
    std::array<int, 5> seen{};
    for (int i = 0; i < 1000; ++i)
        ++seen.at(entropy.below(5));
    for (const int count : seen)
        CHECK(count > 100);
}

TEST_CASE("fill() fills every byte of an odd length") {
    SeededEntropy entropy(2);
    std::array<std::byte, 13> all{};
    // A byte that was never filled would be 0 in all of 16 tries with probability 2^-128.
    std::array<bool, 13> touched{};
    for (int round = 0; round < 16; ++round) {
        entropy.fill(all);
        for (std::size_t i = 0; i < all.size(); ++i)
            touched.at(i) |= all.at(i) != std::byte{0};
    }
    for (const bool byte : touched)
        CHECK(byte);
}

TEST_CASE("The system's entropy gives different values each time") {
    SystemEntropy entropy;
    CHECK(entropy.next_u64() != entropy.next_u64());
}

TEST_CASE("A manual clock moves only when told, the system's clock by itself") {
    ManualClock manual;
    const Instant start = manual.now();
    CHECK(manual.now() == start);
    manual.advance(std::chrono::seconds(3));
    CHECK(manual.now() - start == std::chrono::seconds(3));
    const SystemClock clock;
    const Instant before = clock.now();
    while (clock.now() == before) {
    }
    CHECK(clock.now() > before);
}

}  // namespace
}  // namespace ftvmm
