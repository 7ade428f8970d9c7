#include "vmm/memory/guest_memory.h"

#include <array>
#include <limits>

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

constexpr std::uint64_t kSize = 4 * kPageBytes;

TEST_CASE("Guest memory is zeroed and holds what was written") {
    const auto memory = GuestMemory::create(kSize);
    REQUIRE(memory);
    CHECK(memory->find(Gpa(0), kSize).back() == std::byte{0});
    const std::array bytes{std::byte{1}, std::byte{2}};
    CHECK(memory->write(Gpa(kSize - 2), bytes));
    CHECK(memory->find(Gpa(kSize - 1), 1)[0] == std::byte{2});
}

TEST_CASE("No address a guest can name reaches outside its memory") {
    const auto memory = GuestMemory::create(kSize);
    REQUIRE(memory);
    constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
    CHECK(memory->find(Gpa(kSize - 1), 1).size() == 1);
    CHECK(memory->find(Gpa(kSize - 1), 2).empty());
    CHECK(memory->find(Gpa(kSize), 1).empty());
    CHECK(memory->find(Gpa(kMax), 1).empty());
    CHECK(memory->find(Gpa(kMax), 2).empty());
    CHECK(memory->find(Gpa(1), kMax).empty());
    CHECK(memory->find(Gpa(kSize), 0).empty());
    const std::array bytes{std::byte{1}, std::byte{2}};
    CHECK_FALSE(memory->write(Gpa(kSize - 1), bytes));
    CHECK(memory->find(Gpa(kSize - 1), 1)[0] == std::byte{0});
}

TEST_CASE("Memory beyond 3 GiB goes on at 4 GiB, and the hole between is no memory") {
    const auto memory = GuestMemory::create(kLowRamEnd.value() + kSize);
    REQUIRE(memory);
    const auto blocks = memory->blocks();
    REQUIRE(blocks.size() == 2);
    CHECK(blocks[0].bytes.size() == kLowRamEnd.value());
    CHECK(blocks[1].start == kHighRamStart);
    CHECK(blocks[1].bytes.size() == kSize);
    CHECK(memory->find(kLowRamEnd, 1).empty());
    CHECK(memory->find(Gpa(kLowRamEnd.value() - 1), 1).size() == 1);
    CHECK(memory->find(Gpa(kLowRamEnd.value() - 1), 2).empty());
    CHECK(memory->find(Gpa(kHighRamStart.value() - 1), 2).empty());
    CHECK(memory->find(kHighRamStart, kSize).data() == blocks[1].bytes.data());
    CHECK(memory->find(kHighRamStart, kSize + 1).empty());
}

TEST_CASE("Memory of 3 GiB and less is one block") {
    const auto memory = GuestMemory::create(kLowRamEnd.value());
    REQUIRE(memory);
    CHECK(memory->blocks().size() == 1);
    CHECK(memory->find(kHighRamStart, 1).empty());
}

TEST_CASE("More memory than the host can ever give is an error with advice") {
    const auto memory = GuestMemory::create(std::uint64_t{1} << 60);
    REQUIRE_FALSE(memory);
    CHECK_THAT(memory.error().line(), Catch::Contains("no memory for the guest") &&
                                          Catch::Contains("give the VM less memory"));
}

}  // namespace
}  // namespace ftvmm
