#include "vmm/machine/checkpoint_codec.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "state_fields.h"

namespace ftvmm::machine {
namespace {

constexpr std::uint64_t kMemoryPages = 100;
constexpr std::uint64_t kAllLines = UINT64_MAX;

using Page = std::array<std::byte, kPageBytes>;

Page random_page(std::uint64_t seed) {
    Page page{};
    SeededEntropy(seed).fill(page);
    return page;
}

// Zero but for its `line`.
Page page_with_line(std::size_t line) {
    Page page{};
    page.at(line * kLineBytes + line % kLineBytes) = std::byte{1};
    return page;
}

std::vector<std::uint64_t> flat(CpuState cpu) {
    testing::Flat flat;
    testing::walk(flat, cpu);
    return flat.values;
}

CpuState some_cpu() {
    CpuState cpu;
    cpu.regs.rip = 0x1234;
    cpu.events.interrupt.injected = 1;
    cpu.xsave.region[7] = 9;
    return cpu;
}

std::vector<std::byte> sample() {
    CheckpointEncoder out(300, some_cpu());
    out.add_whole(0, random_page(1), false);
    out.add_whole(1, Page{}, true);
    out.add_whole(kMemoryPages - 1, page_with_line(63), false);
    out.end_pages();
    out.add_hot(7, random_page(2), 0x8000'0000'0000'0105);
    out.add_hot(70, random_page(3), 0);
    out.end_pages();
    return out.take();
}

Page stored(const PageLines& lines, Page onto = {}) {
    lines.store(onto);
    return onto;
}

TEST_CASE("A checkpoint comes back as it was written") {
    const auto bytes = sample();
    const auto read = decode_checkpoint(bytes, kMemoryPages);
    REQUIRE(read);
    CHECK(read->number == 300);
    CHECK((flat(read->cpu) == flat(some_cpu())));
    REQUIRE(read->whole.size() == 3);
    CHECK(read->whole[0].content.page == 0);
    CHECK(!read->whole[0].becomes_hot);
    CHECK((stored(read->whole[0].content) == random_page(1)));
    CHECK(read->whole[1].content.page == 1);
    CHECK(read->whole[1].becomes_hot);
    CHECK((stored(read->whole[1].content) == Page{}));
    CHECK(read->whole[2].content.page == kMemoryPages - 1);
    CHECK((stored(read->whole[2].content) == page_with_line(63)));
    REQUIRE(read->hot.size() == 2);
    CHECK(read->hot[0].page == 7);
    const Page changed = stored(read->hot[0], random_page(9));
    CHECK(lines_that_differ(changed, random_page(9)) == 0x8000'0000'0000'0105);
    CHECK(lines_that_differ(changed, random_page(2)) == ~0x8000'0000'0000'0105);
    CHECK(read->hot[1].page == 70);
    CHECK(read->hot[1].lines == 0);
}

TEST_CASE("Lines are told apart wherever in them the byte lies") {
    CHECK(lines_not_zero(Page{}) == 0);
    CHECK(lines_not_zero(random_page(1)) == kAllLines);
    for (std::size_t line = 0; line < 64; ++line) {
        CHECK(lines_not_zero(page_with_line(line)) == std::uint64_t{1} << line);
        CHECK(lines_that_differ(page_with_line(line), Page{}) == std::uint64_t{1} << line);
    }
    CHECK(lines_that_differ(random_page(1), random_page(1)) == 0);
    for (const std::uint64_t lines :
         {std::uint64_t{0}, std::uint64_t{0x8000'0000'0000'0105}, kAllLines}) {
        Page copy{};
        copy_lines(lines, random_page(1), copy);
        CHECK(lines_not_zero(copy) == lines);
        CHECK(lines_that_differ(copy, random_page(1)) == (kAllLines & ~lines));
    }
}

TEST_CASE("A page without content and a line that has changed take little") {
    CheckpointEncoder out(0, CpuState{});
    const std::size_t before = out.size();
    out.add_whole(50, Page{}, false);
    CHECK(out.size() - before <= 10);
    out.end_pages();
    const std::size_t between = out.size();
    out.add_hot(50, random_page(1), 1);
    CHECK(out.size() - between <= kLineBytes + 10);
}

TEST_CASE("A checkpoint that was cut off anywhere is refused, and so is one that goes on") {
    auto bytes = sample();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        INFO("the first " << size << " bytes");
        REQUIRE(!decode_checkpoint(std::span(bytes).first(size), kMemoryPages));
    }
    bytes.push_back({});
    CHECK(!decode_checkpoint(bytes, kMemoryPages));
}

TEST_CASE("A page beyond the guest's memory is refused") {
    const auto bytes = sample();
    CHECK(!decode_checkpoint(bytes, kMemoryPages - 1));
    CHECK(!decode_checkpoint(bytes, 1));
    CheckpointEncoder out(0, CpuState{});
    out.end_pages();
    out.add_hot(kMemoryPages, Page{}, 0);
    out.end_pages();
    CHECK(!decode_checkpoint(out.take(), kMemoryPages));
}

TEST_CASE("A processor's message with a register too few is refused by its name") {
    replay::ByteWriter bytes;
    bytes.fixed(std::uint8_t{1});
    bytes.varint(0);
    bytes.blob({});
    bytes.varint(0);
    bytes.varint(0);
    const auto read = decode_checkpoint(bytes.take(), kMemoryPages);
    REQUIRE(!read);
    CHECK(read.error().what().find("processor") != std::string::npos);
}

TEST_CASE("A checkpoint with bits changed is refused, or has pages that the guest has") {
    const auto bytes = sample();
    SeededEntropy random(3);
    std::size_t taken = 0;
    for (int round = 0; round < 20000; ++round) {
        auto changed = bytes;
        // The pages' heads are few among so many bytes: every second time only these.
        const std::size_t from = round % 2 == 0 ? 0 : bytes.size() - 300;
        for (std::uint64_t i = random.below(4) + 1; i > 0; --i) {
            changed.at(from + random.below(bytes.size() - from)) ^=
                static_cast<std::byte>(1U << random.below(8));
        }
        const auto read = decode_checkpoint(changed, kMemoryPages);
        if (!read) continue;
        ++taken;
        for (const auto& page : read->whole)
            REQUIRE(page.content.page < kMemoryPages);
        for (const auto& page : read->hot) {
            REQUIRE(page.page < kMemoryPages);
            (void)stored(page);
        }
    }
    CHECK(taken > 0);
    CHECK(taken < 20000);
}

}  // namespace
}  // namespace ftvmm::machine
