#include "vmm/virtio/dma.h"

#include <array>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

#include "driver.h"

namespace ftvmm::virtio {
namespace {

using Pages = std::vector<std::uint64_t>;

TEST_CASE("Each page that is written is told once, by its address, above the hole too") {
    const auto memory = testing::make_memory(kLowRamEnd.value() + 3 * kPageBytes);
    constexpr std::uint64_t kFirstHighPage = kHighRamStart.value() / kPageBytes;
    constexpr std::uint64_t kLastLowPage = kLowRamEnd.value() / kPageBytes - 1;
    const std::array<std::byte, 10> bytes{};
    Dma dma(memory);
    REQUIRE(dma.write(kHighRamStart + 2 * kPageBytes, bytes));
    REQUIRE(dma.write(kHighRamStart + (kPageBytes - 5), bytes));
    REQUIRE(dma.write(kHighRamStart, bytes));
    REQUIRE(dma.write(Gpa(kLowRamEnd.value() - bytes.size()), bytes));
    CHECK(dma.take_written_pages() ==
          Pages{kFirstHighPage + 2, kFirstHighPage, kFirstHighPage + 1, kLastLowPage});
    CHECK(dma.take_written_pages().empty());
}

TEST_CASE("What does not fit is not written, and no page of it is told") {
    const auto memory = testing::make_memory(kLowRamEnd.value() + kPageBytes);
    const std::array<std::byte, 10> bytes{};
    Dma dma(memory);
    CHECK_FALSE(dma.write(Gpa(kLowRamEnd.value() - 5), bytes));
    CHECK_FALSE(dma.write(kLowRamEnd, bytes));
    CHECK_FALSE(dma.write(kHighRamStart + (kPageBytes - 5), bytes));
    CHECK(dma.take_written_pages().empty());
}

}  // namespace
}  // namespace ftvmm::virtio
