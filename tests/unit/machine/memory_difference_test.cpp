#include "vmm/machine/memory_difference.h"

#include <array>
#include <cstring>

#include <catch2/catch.hpp>

namespace ftvmm::machine {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{64} << 20U;
constexpr std::uint64_t kRecorded = std::uint64_t{kRecordedTscMark} << 48U;
constexpr std::uint64_t kReplayed = std::uint64_t{kReplayedTscMark} << 48U;

struct Page {
    std::array<std::byte, kPageBytes> bytes{};
    void put(std::size_t word, std::uint64_t value) {
        std::memcpy(&bytes.at(word * sizeof value), &value, sizeof value);
    }
};

struct Pages {
    Page recorded;
    Page replayed;
    void put(std::size_t word, std::uint64_t was, std::uint64_t is) {
        recorded.put(word, was);
        replayed.put(word, is);
    }
    [[nodiscard]] MemoryDifferences compare() const {
        MemoryComparison comparison;
        comparison.add(0x5000, recorded.bytes, replayed.bytes, kMemory);
        return comparison.found();
    }
};

}  // namespace

TEST_CASE("Pages that are the same count nothing") {
    Pages pages;
    pages.put(3, 5, 5);
    CHECK(pages.compare() == MemoryDifferences{});
}

TEST_CASE("An accessed bit is told apart in a page table, and in no other page") {
    Pages pages;
    pages.put(0, 0x1007, 0x1007);
    pages.put(1, 0x2027, 0x2007);
    pages.put(2, 0x3047, 0x3067);
    CHECK(pages.compare().accessed_or_dirty == 2);
    CHECK(pages.compare().other == 0);

    SECTION("a word that is no entry: text, not a table") {
        pages.put(9, 0x6f6c6c6568, 0x6f6c6c6568);
        CHECK(pages.compare().other == 2);
    }
    SECTION("an entry that leads out of the memory") {
        pages.put(9, 0xff'0000'0007, 0xff'0000'0007);
        CHECK(pages.compare().other == 2);
    }
    SECTION("another bit of an entry is a divergence") {
        pages.put(4, 0x4007, 0x4005);
        CHECK(pages.compare().other == 1);
        CHECK(pages.compare().first ==
              std::vector<MemoryDifferences::Place>{{0x5020, 0x4007, 0x4005}});
    }
}

TEST_CASE("What the time stamp counter left is told by its marks, each on its own side") {
    Pages pages;
    pages.put(0, kRecorded | 0x1234'5678, kReplayed | 0x9234'5678);
    CHECK(pages.compare().tsc == 1);
    CHECK(pages.compare().other == 0);

    pages.put(0, kReplayed | 0x1234'5678, kRecorded | 0x9234'5678);
    CHECK(pages.compare().other == 1);
    pages.put(0, kRecorded | 0x1234'5678, kRecorded | 0x9234'5678);
    CHECK(pages.compare().other == 1);
}

TEST_CASE("The upper half of a time stamp counter is told wherever it lies alone") {
    Pages pages;
    pages.put(7, kRecorded >> 32U | 5, kReplayed >> 32U | 9);
    CHECK(pages.compare().tsc == 1);
}

TEST_CASE("An interval is the counter's only in a page with marks") {
    Pages pages;
    pages.put(5, 70'000, 90'000);
    CHECK(pages.compare().other == 1);
    pages.put(6, kRecorded | 1, kReplayed | 2);
    CHECK(pages.compare().tsc == 2);
    CHECK(pages.compare().other == 0);

    // A pointer is none.
    pages.put(8, 0xffff'8880'0123'0000, 0xffff'8881'4567'0000);
    CHECK(pages.compare().other == 1);
}

TEST_CASE("What differs is told in a line, and where the first of it lies") {
    Pages pages;
    pages.put(0, 1, 0xffff'ffff'ffff'fffe);
    const std::string text = describe(pages.compare());
    CHECK(text.find("1 pages of memory differ") == 0);
    CHECK(text.find("1 others") != std::string::npos);
    CHECK(text.find("byte 0x5000: recorded 0000000000000001") != std::string::npos);
}

}  // namespace ftvmm::machine
