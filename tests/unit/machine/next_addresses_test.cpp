#include "vmm/machine/next_addresses.h"

#include <algorithm>
#include <cstring>
#include <map>

#include <catch2/catch.hpp>

#include "vmm/machine/page_walk.h"

namespace ftvmm::machine {
namespace {

constexpr std::uint64_t kCode = 0xffff'ffff'8100'0000;
constexpr std::uint64_t kStack = 0xffff'c900'0000'1000;
constexpr std::uint64_t kIdt = 0xffff'fe00'0000'0000;
constexpr std::uint64_t kPageFaultHandler = 0xffff'ffff'8200'0e0e;
constexpr std::uint64_t kTickHandler = 0xffff'ffff'8200'4040;

// A processor in ring 0 of long mode whose code begins with `code`; handlers of page faults and of
// interrupt 0x40 alone.
struct Processor {
    std::map<std::uint64_t, std::uint8_t> bytes;
    ProcessorView view;

    explicit Processor(std::initializer_list<std::uint8_t> code) {
        for (const std::uint8_t byte : code)
            bytes[kCode + bytes.size()] = byte;
        gate(14, kPageFaultHandler);
        gate(0x40, kTickHandler);
        view.regs.rip = kCode;
        view.regs.rsp = kStack;
        view.sregs.cs.l = 1;
        view.sregs.cs.selector = 0x10;
        view.sregs.idt.base = kIdt;
        view.sregs.idt.limit = 0xfff;
        view.read = [this](std::uint64_t address, std::span<std::byte> target) {
            std::size_t done = 0;
            for (; done < target.size() && bytes.contains(address + done); ++done)
                target[done] = std::byte{bytes.at(address + done)};
            return done;
        };
        view.msr = [](std::uint32_t index) { return 0xffff'ffff'0000'0000 | index; };
    }
    void put(std::uint64_t address, std::uint64_t value) {
        for (unsigned i = 0; i < 8; ++i)
            bytes[address + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
    void gate(unsigned vector, std::uint64_t handler) {
        const std::uint64_t at = kIdt + std::uint64_t{16} * vector;
        put(at, (handler & 0xffff) | 0x8e00'0010'0000 | (handler >> 16 & 0xffff) << 48);
        put(at + 8, handler >> 32);
    }
    // Without the page fault's handler, which each instruction may go to.
    [[nodiscard]] std::vector<std::uint64_t> next() const {
        auto addresses = next_addresses(view).addresses;
        CHECK(std::erase(addresses, kPageFaultHandler) == 1);
        std::ranges::sort(addresses);
        return addresses;
    }
};

using Addresses = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("Behind most instructions is the next one") {
    CHECK(Processor({0x90}).next() == Addresses{kCode + 1});
    CHECK(Processor({0xf3, 0xa4}).next() == Addresses{kCode + 2});
    CHECK(Processor({0x0f, 0x22, 0xd8}).next() == Addresses{kCode + 3});
    CHECK(next_addresses(Processor({0xf3, 0xa4}).view).length == 2);
}

TEST_CASE("A branch goes where its operand says, one that depends on something goes on as well") {
    CHECK(Processor({0xeb, 0x10}).next() == Addresses{kCode + 0x12});
    CHECK(Processor({0x75, 0xfe}).next() == Addresses{kCode, kCode + 2});
    CHECK(Processor({0xe8, 0xfb, 0xff, 0xff, 0xff}).next() == Addresses{kCode});

    Processor by_register({0xff, 0xd0});
    by_register.view.regs.rax = kCode + 0x1234;
    CHECK(by_register.next() == Addresses{kCode + 0x1234});

    Processor by_memory({0xff, 0x64, 0xc8, 0x08});  // jmp *8(%rax, %rcx, 8)
    by_memory.view.regs.rax = kStack;
    by_memory.view.regs.rcx = 2;
    by_memory.put(kStack + 24, kCode + 0x77);
    CHECK(by_memory.next() == Addresses{kCode + 0x77});

    Processor by_segment({0x65, 0xff, 0x14, 0x25, 0x40, 0, 0, 0});  // call *%gs:0x40
    by_segment.view.sregs.gs.base = kStack;
    by_segment.put(kStack + 0x40, kCode + 0x88);
    CHECK(by_segment.next() == Addresses{kCode + 0x88});
}

TEST_CASE("A return goes where the stack says, and where that can not be read to the handlers") {
    Processor processor({0xc3});
    CHECK(processor.next().empty());
    processor.put(kStack, kCode + 0x99);
    CHECK(processor.next() == Addresses{kCode + 0x99});
}

TEST_CASE("An event that is delivered goes to its handler, whatever stands at RIP") {
    Processor processor({0xeb, 0x10});
    processor.view.has_event = true;
    processor.view.interrupt = 0x40;
    CHECK(processor.next() == Addresses{kTickHandler});
    CHECK(Processor({0xcd, 0x40}).next() == Addresses{kTickHandler});
}

TEST_CASE("Of a program there is only where it enters the kernel") {
    const Addresses entries{0xffff'ffff'0000'0176, 0xffff'ffff'c000'0082, 0xffff'ffff'c000'0083};
    Processor program({0x90});
    program.view.sregs.cs.selector = 0x33;
    CHECK(program.next() == entries);
    CHECK(Processor({0x48, 0x0f, 0x07}).next() == entries);  // sysretq
}

TEST_CASE("Code that can not be read or decoded leaves the handlers alone") {
    CHECK(Processor({}).next().empty());
    CHECK(Processor({0x06}).next().empty());
    CHECK(next_addresses(Processor({0x06}).view).length == 0);
}

TEST_CASE("Page tables are walked to pages of each size, and are left as they are") {
    auto memory = GuestMemory::create(std::uint64_t{8} << 20U).value();
    const auto put = [&](std::uint64_t table, std::uint64_t index, std::uint64_t entry) {
        std::memcpy(memory.find(Gpa(table + 8 * index), 8).data(), &entry, 8);
    };
    constexpr std::uint64_t kWritable = 3;
    constexpr std::uint64_t kUser = 7;
    constexpr std::uint64_t kLarge = 0x80;
    put(0x1000, 0, 0x2000 | kUser);
    put(0x2000, 0, 0x3000 | kUser);
    put(0x2000, 1, kLarge | kWritable);         // 1 GiB at 0
    put(0x3000, 0, 0x4000 | kUser);             // 4 KiB pages
    put(0x3000, 1, 0x400000 | kLarge | kUser);  // 2 MiB at 4 MiB
    put(0x4000, 1, 0x5000 | kUser);
    put(0x4000, 2, 0x6000 | kWritable);
    put(0x1000, 511, 0x2000 | kUser);
    kvm_sregs sregs{};
    sregs.cr0 = 0x8000'0001;
    sregs.cr3 = 0x1000;
    sregs.efer = 0x500;
    const std::vector<std::byte> before(memory.bytes().begin(), memory.bytes().end());
    const auto walk = [&](std::uint64_t linear) { return walk_pages(memory, sregs, linear); };

    REQUIRE(walk(0x1234));
    CHECK(walk(0x1234)->address == Gpa(0x5234));
    CHECK(walk(0x1234)->is_for_users);
    CHECK_FALSE(walk(0x2000)->is_for_users);
    CHECK(walk(0x201234)->address == Gpa(0x401234));
    CHECK(walk(0x40001234)->address == Gpa(0x1234));
    CHECK(walk(0xffff'ff80'0000'1234)->address == Gpa(0x5234));
    CHECK_FALSE(walk(0x3000));
    CHECK_FALSE(walk(0x80000000));
    CHECK_FALSE(walk(0x0000'8000'0000'1234));  // Not canonical.
    sregs.cr0 = 1;
    CHECK(walk(0x7000)->address == Gpa(0x7000));
    sregs.cr0 = 0x8000'0001;

    std::array<std::byte, 0x1800> bytes{};
    CHECK(read_linear(memory, sregs, 0x1800, bytes) == bytes.size());
    CHECK(read_linear(memory, sregs, 0x2800, bytes) == 0x800);
    CHECK(read_linear(memory, sregs, 0x3000, bytes) == 0);
    CHECK(std::ranges::equal(before, memory.bytes()));
}

}  // namespace ftvmm::machine
