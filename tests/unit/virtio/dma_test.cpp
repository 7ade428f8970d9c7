#include "vmm/virtio/dma.h"

#include <algorithm>
#include <array>
#include <cstddef>
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

TEST_CASE("Ranges are gathered from any of their bytes on, and what they lack is zeroes") {
    const auto memory = testing::make_memory(4 * kPageBytes);
    const Dma dma(memory);
    const auto put = [&](std::uint64_t at, std::byte value) {
        REQUIRE(memory.write(Gpa(at), std::array{value, value, value}));
    };
    put(0x100, std::byte{1});
    put(0x1ffe, std::byte{2});  // Over the end of a page.
    put(0x3000, std::byte{3});
    const std::array ranges{Range{Gpa(0x100), 3}, Range{Gpa(0x1ffe), 3}, Range{Gpa(0x3000), 3}};
    const auto from = [&](std::uint64_t offset, std::size_t size) {
        std::vector<std::byte> bytes(size, std::byte{0xff});
        gather(dma, ranges, offset, bytes);
        return bytes;
    };
    const std::vector<std::byte> all{std::byte{1}, std::byte{1}, std::byte{1},
                                     std::byte{2}, std::byte{2}, std::byte{2},
                                     std::byte{3}, std::byte{3}, std::byte{3}};
    for (std::size_t offset = 0; offset <= all.size(); ++offset) {
        for (std::size_t size = 0; size <= all.size() + 2; ++size) {
            std::vector<std::byte> expected(size);
            const auto part = std::min(size, all.size() - offset);
            std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(offset), part, expected.begin());
            CHECK(from(offset, size) == expected);
        }
    }
}

}  // namespace
}  // namespace ftvmm::virtio
