#include "vmm/boot/disassemble.h"

#include <initializer_list>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace ftvmm::boot {
namespace {

constexpr std::uint64_t kAddress = 0xffff'ffff'8100'0000;

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

bool has(const std::string& line, const std::string& what) {
    return line.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("Three instructions before a place, its own and four behind it are told") {
    // nop; push rbp; mov rbp, rsp; sub rsp, 0x10
    const auto before = bytes_of({0x90, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10});
    // in al, dx; ret; five times nop
    const auto from = bytes_of({0xec, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90});
    const auto lines = disassemble_around(kAddress, before, from, CodeSize::k64Bit);
    REQUIRE(lines.size() == 8);
    CHECK(has(lines[0], "push rbp"));
    CHECK(has(lines[1], "mov rbp, rsp"));
    CHECK(has(lines[2], "sub rsp, 0x10"));
    CHECK(has(lines[2], "  ffffffff80fffffc  48 83 ec 10"));
    CHECK(has(lines[3], "> ffffffff81000000  ec"));
    CHECK(has(lines[3], "in al, dx"));
    CHECK(has(lines[4], "ret"));
    for (std::size_t i = 0; i < lines.size(); ++i)
        CHECK((lines[i].front() == '>') == (i == 3));
}

TEST_CASE("An address in an instruction is the one that it means where it lies") {
    // jmp to the byte behind it.
    const auto lines = disassemble_around(kAddress, {}, bytes_of({0xeb, 0x00}), CodeSize::k64Bit);
    CHECK(has(lines[0], "0xFFFFFFFF81000002"));
}

TEST_CASE("The same bytes are other instructions in another mode") {
    const auto code = bytes_of({0x48, 0x89, 0xc8});
    CHECK(has(disassemble_around(0, {}, code, CodeSize::k64Bit)[0], "mov rax, rcx"));
    const auto narrow = disassemble_around(0, {}, code, CodeSize::k32Bit);
    CHECK(has(narrow[0], "dec eax"));
    CHECK(has(narrow[1], "mov eax, ecx"));
    CHECK(has(disassemble_around(0, {}, code, CodeSize::k16Bit)[0], "dec ax"));
}

TEST_CASE("Memory that ends, and bytes that are no instruction, are called that") {
    const auto nowhere = disassemble_around(kAddress, {}, {}, CodeSize::k64Bit);
    REQUIRE(nowhere.size() == 1);
    CHECK(has(nowhere[0], "> ffffffff81000000"));
    CHECK(has(nowhere[0], "(no memory that can be read)"));
    // 06 is none in 64-bit mode; then ret, then nothing.
    const auto cut = disassemble_around(kAddress, {}, bytes_of({0x06, 0xc3}), CodeSize::k64Bit);
    REQUIRE(cut.size() == 3);
    CHECK(has(cut[0], "(no instruction)"));
    CHECK(has(cut[1], "ret"));
    CHECK(has(cut[2], "(no memory that can be read)"));
}

TEST_CASE("Bytes before a place that lead elsewhere are left out") {
    // The beginning of a mov that would reach over the place.
    const auto lines =
        disassemble_around(kAddress, bytes_of({0x06, 0x48}), bytes_of({0xc3}), CodeSize::k64Bit);
    CHECK(has(lines[0], "> ffffffff81000000"));
}

}  // namespace ftvmm::boot
