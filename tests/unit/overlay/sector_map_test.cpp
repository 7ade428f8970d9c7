#include "vmm/overlay/sector_map.h"

#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"

namespace ftvmm::overlay {
namespace {

constexpr std::uint64_t kSector = host::kSectorBytes;

TEST_CASE("A map of sectors is what a list of them is") {
    SeededEntropy random(7);
    // Two blocks and a bit, so that runs go over their borders.
    constexpr std::uint64_t kSectors = 2 * 32768 + 100;
    SectorMap map(kSectors * kSector);
    std::vector<bool> model(kSectors);
    for (int i = 0; i < 400; ++i) {
        // Often at the borders of bytes and blocks.
        const std::uint64_t near = random.below(3) * 32768;
        const std::uint64_t first =
            random.below(2) == 0 ? random.below(kSectors)
                                 : std::min(kSectors - 1, near - std::min(near, random.below(20)));
        const std::uint64_t count =
            1 + random.below(std::min<std::uint64_t>(kSectors - first, 900));
        const bool held = random.below(2) == 0;
        map.set({first * kSector, count * kSector}, held);
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), count, held);
        const std::uint64_t from = random.below(kSectors);
        const std::uint64_t length = 1 + random.below(kSectors - from);
        std::uint64_t same = 1;
        while (same < length && model[from + same] == model[from])
            ++same;
        const auto run = map.run_at({from * kSector, length * kSector});
        REQUIRE(run.held == model[from]);
        REQUIRE(run.length == same * kSector);
        REQUIRE(map.held() / kSector ==
                static_cast<std::uint64_t>(std::count(model.begin(), model.end(), true)));
    }
    SectorMap loaded(kSectors * kSector);
    for (std::size_t i = 0; i < map.blocks(); ++i)
        REQUIRE(loaded.load(i, map.block_after(i, {i * SectorMap::kBlockSpan, 0}, true)));
    CHECK(loaded.held() == map.held());
}

TEST_CASE("A block of a map tells of what comes next before it is so") {
    SectorMap map(SectorMap::kBlockSpan);
    map.set({8 * kSector, 8 * kSector}, true);
    const auto more = map.block_after(0, {0, 8 * kSector}, true);
    CHECK(more[0] == std::byte{0xff});
    CHECK(more[1] == std::byte{0xff});
    const auto fewer = map.block_after(0, {8 * kSector, 4 * kSector}, false);
    CHECK(fewer[0] == std::byte{0});
    CHECK(fewer[1] == std::byte{0xf0});
    CHECK(map.held() == 8 * kSector);
}

TEST_CASE("A map that holds what is behind the disk's end is refused") {
    SectorMap map(10 * kSector);
    SectorMap::Block block{};
    block[1] = std::byte{0x03};
    CHECK(map.load(0, block));
    CHECK(map.held() == 2 * kSector);
    block[1] = std::byte{0x04};
    CHECK_FALSE(map.load(0, block));
    CHECK(map.held() == 2 * kSector);
}

}  // namespace
}  // namespace ftvmm::overlay
