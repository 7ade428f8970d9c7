#include "vmm/boot/entry_state.h"

#include <array>

#include "vmm/boot/layout.h"
#include "vmm/boot/store_bytes.h"

namespace ftvmm::boot {

namespace {

// AMD64 manual volume 2, 5.3 "Long-Mode Page Translation". Accessed and dirty are set beforehand:
// the processor then has nothing to write here at times of its own.
constexpr std::uint64_t kPresent = 1U << 0;
constexpr std::uint64_t kWritable = 1U << 1;
constexpr std::uint64_t kAccessed = 1U << 5;
constexpr std::uint64_t kDirty = 1U << 6;
constexpr std::uint64_t kLargePage = 1U << 7;
constexpr std::uint64_t kTableFlags = kPresent | kWritable | kAccessed;
constexpr std::uint64_t kPageFlags = kTableFlags | kDirty | kLargePage;
// Pages of 1 GiB are no part of every processor.
constexpr std::uint64_t kLargePageBytes = std::uint64_t{2} << 20;
constexpr std::uint64_t kEntries = kPageBytes / sizeof(std::uint64_t);
constexpr std::uint64_t kDirectories = 4;  // Of 1 GiB each.

constexpr std::uint64_t kCr0 = 0x80000031;  // PG, NE, ET, PE
constexpr std::uint64_t kCr4 = 1U << 5;     // PAE
constexpr std::uint64_t kEfer = 0x500;      // LMA, LME
constexpr std::uint64_t kRflags = 1U << 1;  // The bit that is always set.

constexpr std::uint32_t kFlatLimit = 0xffffffff;
// boot.rst: __BOOT_CS is 0x10 and execute/read, __BOOT_DS is 0x18 and read/write, both 4 GiB flat.
constexpr Segment kCode{.base = 0,
                        .limit = kFlatLimit,
                        .selector = 0x10,
                        .type = 0xb,
                        .s = true,
                        .dpl = 0,
                        .present = true,
                        .l = true,
                        .db = false,
                        .g = true};
constexpr Segment kData{.base = 0,
                        .limit = kFlatLimit,
                        .selector = 0x18,
                        .type = 0x3,
                        .s = true,
                        .dpl = 0,
                        .present = true,
                        .l = false,
                        .db = true,
                        .g = true};
constexpr Segment kTask{.base = 0,
                        .limit = 0x67,
                        .selector = 0x20,
                        .type = 0xb,
                        .s = false,
                        .dpl = 0,
                        .present = true,
                        .l = false,
                        .db = false,
                        .g = false};

// AMD64 manual volume 2, 4.7 "Legacy Segment Descriptors"; the code descriptor's L as in 4.8.
constexpr std::uint64_t descriptor(const Segment& segment) {
    const std::uint64_t limit = segment.g ? segment.limit >> 12 : segment.limit;
    return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | std::uint64_t{segment.type} << 40 |
           std::uint64_t{segment.s} << 44 | std::uint64_t{segment.dpl} << 45 |
           std::uint64_t{segment.present} << 47 | (limit >> 16 & 0xf) << 48 |
           std::uint64_t{segment.l} << 53 | std::uint64_t{segment.db} << 54 |
           std::uint64_t{segment.g} << 55 | (segment.base >> 24 & 0xff) << 56;
}

// A system descriptor takes two entries in long mode; the second is the base's upper half.
constexpr std::array<std::uint64_t, 6> kGdtEntries{
    0, 0, descriptor(kCode), descriptor(kData), descriptor(kTask), kTask.base >> 32};
static_assert(sizeof kGdtEntries <= kGdt.bytes);

void write_page_tables(const GuestMemory& memory) {
    using Table = std::array<std::uint64_t, kEntries>;
    static_assert(sizeof(Table) * (2 + kDirectories) == kPageTables.bytes);
    const Gpa root = kPageTables.start;
    const Gpa pointers = root + kPageBytes;
    const Gpa directories = pointers + kPageBytes;
    Table table{};
    table[0] = pointers.value() | kTableFlags;
    store_value(memory, root, table);

    table = {};
    for (std::uint64_t i = 0; i < kDirectories; ++i)
        table[i] = (directories + i * kPageBytes).value() | kTableFlags;
    store_value(memory, pointers, table);

    for (std::uint64_t i = 0; i < kDirectories; ++i) {
        for (std::uint64_t j = 0; j < kEntries; ++j)
            table[j] = (i * kEntries + j) * kLargePageBytes | kPageFlags;
        store_value(memory, directories + i * kPageBytes, table);
    }
}

}  // namespace

EntryState write_entry_state(const LoadedKernel& loaded, const GuestMemory& memory) {
    write_page_tables(memory);
    store_value(memory, kGdt.start, kGdtEntries);
    return EntryState{.rip = loaded.entry.value(),
                      .rsi = kZeroPage.start.value(),
                      .rsp = kStack.end().value(),
                      .rflags = kRflags,
                      .cr0 = kCr0,
                      .cr3 = kPageTables.start.value(),
                      .cr4 = kCr4,
                      .efer = kEfer,
                      .gdt_base = kGdt.start.value(),
                      .gdt_limit = sizeof kGdtEntries - 1,
                      .code = kCode,
                      .data = kData,
                      .task = kTask};
}

}  // namespace ftvmm::boot
