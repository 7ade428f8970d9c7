#include "vmm/boot/entry_state.h"

#include <optional>

#include <catch2/catch.hpp>

#include "read_guest.h"
#include "vmm/boot/layout.h"

namespace ftvmm::boot {
namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr LoadedKernel kLoaded{Gpa(0x1000100), Gpa(0x1000000), Gpa(0x1100000)};

struct Entered {
    GuestMemory memory;
    EntryState state;
};

Entered enter() {
    auto memory = GuestMemory::create(32 * kMib);
    REQUIRE(memory);
    const EntryState state = write_entry_state(kLoaded, *memory);
    return {std::move(*memory), state};
}

struct Mapping {
    std::uint64_t physical;
    std::uint64_t flags;  // Those of the entry that maps.
};

// The walk of the processor manuals, for tables that end in 2 MiB pages.
std::optional<Mapping> walk(const Entered& entered, std::uint64_t address) {
    constexpr std::uint64_t kAddressBits = 0x000ffffffffff000;
    std::uint64_t table = entered.state.cr3;
    for (const unsigned shift : {39U, 30U, 21U}) {
        const std::uint64_t index = address >> shift & 0x1ff;
        const auto entry = read_guest<std::uint64_t>(entered.memory, table + 8 * index);
        if ((entry & 1) == 0) return std::nullopt;
        const bool large = (entry & 0x80) != 0;
        REQUIRE(large == (shift == 21));
        REQUIRE((entry & 0x22) == 0x22);  // Writable, accessed.
        if (large) {
            REQUIRE((entry & kAddressBits) % (2 * kMib) == 0);
            return Mapping{(entry & kAddressBits) + address % (2 * kMib), entry & 0xfff};
        }
        table = entry & kAddressBits;
        REQUIRE(Gpa(table) >= kPageTables.start);
        REQUIRE(Gpa(table) < kPageTables.end());
    }
    return std::nullopt;
}

TEST_CASE("The page tables map every page of the first 4 GiB to itself and nothing else") {
    const Entered entered = enter();
    for (std::uint64_t address = 0x123; address < 4096 * kMib; address += 2 * kMib) {
        const auto mapping = walk(entered, address);
        REQUIRE(mapping);
        REQUIRE(mapping->physical == address);
        REQUIRE((mapping->flags & 0x40) != 0);  // Dirty.
    }
    CHECK_FALSE(walk(entered, 4096 * kMib));
    CHECK_FALSE(walk(entered, std::uint64_t{1} << 39));
    CHECK_FALSE(walk(entered, 0xffffffff81000000));
}

// What the processor would make of the descriptor that `segment` selects (AMD64 manual 2, 4.7).
Segment decode(const Entered& entered, const Segment& segment) {
    REQUIRE(segment.selector + 7 <= entered.state.gdt_limit);
    const auto raw =
        read_guest<std::uint64_t>(entered.memory, entered.state.gdt_base + segment.selector);
    const auto bit = [&](unsigned n) { return (raw >> n & 1) != 0; };
    const std::uint64_t limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
    return Segment{.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
                   .limit = static_cast<std::uint32_t>(bit(55) ? limit << 12 | 0xfff : limit),
                   .selector = segment.selector,
                   .type = static_cast<std::uint8_t>(raw >> 40 & 0xf),
                   .s = bit(44),
                   .dpl = static_cast<std::uint8_t>(raw >> 45 & 3),
                   .present = bit(47),
                   .l = bit(53),
                   .db = bit(54),
                   .g = bit(55)};
}

TEST_CASE("The segments are those of the boot protocol and of the GDT in memory") {
    const Entered entered = enter();
    const EntryState& state = entered.state;
    CHECK(state.code.selector == 0x10);
    CHECK(state.data.selector == 0x18);
    CHECK(state.code.type == 0xb);
    CHECK(state.data.type == 0x3);
    CHECK(state.code.l);
    CHECK_FALSE(state.code.db);  // With L set it must be clear.
    for (const Segment& segment : {state.code, state.data, state.task})
        CHECK(decode(entered, segment) == segment);
    CHECK(read_guest<std::uint64_t>(entered.memory, state.gdt_base) == 0);
}

TEST_CASE("The processor starts in long mode at the entry, with the zero page and no interrupts") {
    const Entered entered = enter();
    const EntryState& state = entered.state;
    CHECK(state.rip == kLoaded.entry.value());
    CHECK(state.rsi == kZeroPage.start.value());
    CHECK((state.cr0 & 0x80000001) == 0x80000001);  // PG, PE
    CHECK(state.cr4 == 0x20);                       // PAE
    CHECK(state.efer == 0x500);                     // LME, LMA
    CHECK(state.rflags == 2);
    CHECK(Gpa(state.rsp) == kStack.end());
}

}  // namespace
}  // namespace ftvmm::boot
