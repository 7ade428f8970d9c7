#include "vmm/overlay/overlay.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "sim_storage.h"

namespace ftvmm::overlay {
namespace {

using test::SimFile;
using test::SimHost;
using test::SimInode;

constexpr std::uint64_t kSector = host::kSectorBytes;
constexpr std::uint64_t kDiskBytes = 64 * kSector;
constexpr OverlayFacts kFacts{4, kDiskBytes, 77};

std::shared_ptr<SimInode> new_overlay() {
    auto inode = std::make_shared<SimInode>(layout_of(kDiskBytes).end);
    SimFile file(std::make_shared<SimHost>(), inode);
    REQUIRE(Overlay::format(file, kFacts));
    return inode;
}

Result<std::unique_ptr<Overlay>> load(const std::shared_ptr<SimInode>& inode,
                                      const OverlayFacts& facts = kFacts) {
    return Overlay::load(std::make_shared<SimFile>(std::make_shared<SimHost>(), inode), facts);
}

std::string refusal(const std::shared_ptr<SimInode>& inode, const OverlayFacts& facts = kFacts) {
    const auto loaded = load(inode, facts);
    return loaded ? "" : loaded.error().what();
}

TEST_CASE("What an overlay holds is seen by whoever loads it next") {
    const auto inode = new_overlay();
    const auto first = load(inode);
    REQUIRE(first);
    CHECK((*first)->held() == 0);
    const std::vector<std::byte> bytes(3 * kSector, std::byte{0x5a});
    REQUIRE((*first)->write(bytes, 5 * kSector) == 0);
    REQUIRE((*first)->zero(63 * kSector, kSector) == 0);

    const auto second = load(inode);
    REQUIRE(second);
    CHECK((*second)->held() == 4 * kSector);
    CHECK_FALSE((*second)->run_at({0, kDiskBytes}).held);
    CHECK((*second)->run_at({0, kDiskBytes}).length == 5 * kSector);
    CHECK((*second)->run_at({5 * kSector, 59 * kSector}).held);
    CHECK((*second)->run_at({5 * kSector, 59 * kSector}).length == 3 * kSector);
    std::vector<std::byte> found(3 * kSector);
    REQUIRE((*second)->read(found, 5 * kSector) == 0);
    CHECK(found == bytes);

    REQUIRE((*second)->forget({6 * kSector, kSector}) == 0);
    CHECK((*second)->held() == 3 * kSector);
    CHECK((*first)->held() == 4 * kSector);
    REQUIRE((*first)->reload());
    CHECK((*first)->held() == 3 * kSector);
}

TEST_CASE("An overlay of another disk, generation or file is refused") {
    const auto inode = new_overlay();
    CHECK(refusal(inode).empty());
    CHECK(refusal(inode, {4, kDiskBytes + kSector, 77}) ==
          "it lies over a disk of 32768 bytes, and this one has 33280");
    CHECK(refusal(inode, {4, kDiskBytes, 78}) == "it lies over another file");
    CHECK(refusal(inode, {5, kDiskBytes, 77}) == "it is of generation 4, whatever its name says");
}

TEST_CASE("A damaged overlay is refused") {
    const auto inode = new_overlay();
    const OverlayLayout layout = layout_of(kDiskBytes);
    SECTION("another file") {
        inode->bytes[0] = std::byte{0};
        CHECK(refusal(inode) == "it is no overlay of ftvmm");
    }
    SECTION("its header") {
        inode->bytes[17] ^= std::byte{1};
        CHECK(refusal(inode) == "its header is damaged");
    }
    SECTION("its directory") {
        inode->bytes[layout.directory] = std::byte{2};
        CHECK(refusal(inode) == "its directory is damaged");
    }
    SECTION("its map") {
        inode->bytes[layout.directory] = std::byte{1};
        inode->bytes[layout.map + 8] = std::byte{1};
        CHECK(refusal(inode) == "its map is damaged");
    }
    SECTION("it is short") {
        inode->bytes.resize(kHeaderBytes);
        CHECK(refusal(inode).starts_with("it can not be read"));
    }
}

TEST_CASE("A header tells of no disk that can not be") {
    const std::uint64_t bytes = GENERATE(std::uint64_t{0}, std::uint64_t{700},
                                         std::uint64_t{2} << 50U, ~std::uint64_t{0} << 9U);
    CHECK_FALSE(decode_header(encode_header({1, bytes, 0})));
    auto other = encode_header({1, kDiskBytes, 0});
    CHECK(decode_header(other));
    other[8] = std::byte{2};
    CHECK_FALSE(decode_header(other));
}

TEST_CASE("A write over the borders of a large disk's blocks is held, and costs no more memory") {
    // Nine blocks of the map's directory's second byte.
    constexpr std::uint64_t kLarge = 12 * SectorMap::kBlockSpan;
    std::string path = "overlay-test-XXXXXX";
    const Fd fd(::mkstemp(path.data()));
    REQUIRE(fd.valid());
    ::unlink(path.c_str());
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(layout_of(kLarge).end)) == 0);
    const OverlayFacts facts{1, kLarge, 0};
    const auto file = std::make_shared<host::FdBlockFile>(fd.get(), false);
    REQUIRE(Overlay::format(*file, facts));
    const auto overlay = Overlay::load(file, facts);
    REQUIRE(overlay);
    const std::uint64_t border = 9 * SectorMap::kBlockSpan;
    const std::vector<std::byte> bytes(4 * kSector, std::byte{0x77});
    REQUIRE((*overlay)->write(bytes, border - 2 * kSector) == 0);
    REQUIRE((*overlay)->write(bytes, kLarge - 4 * kSector) == 0);
    const auto again = Overlay::load(file, facts);
    REQUIRE(again);
    CHECK((*again)->held() == 8 * kSector);
    std::vector<std::byte> found(4 * kSector);
    REQUIRE((*again)->read(found, border - 2 * kSector) == 0);
    CHECK(found == bytes);
}

}  // namespace
}  // namespace ftvmm::overlay
