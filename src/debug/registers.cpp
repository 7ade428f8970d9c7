#include "debug/registers.h"

#include <fmt/format.h>

#include <string_view>
#include <type_traits>

namespace ftvmm::debug {

namespace {

struct Row {
    std::string_view name;
    unsigned bits = 0;
    std::string_view type;
};

struct Feature {
    std::string_view name;
    std::vector<Row> rows;
    std::string_view types = {};
};

// The names, types and features are GDB's own (its features/i386/64bit-*.xml is how others say it):
// with fewer of the first two it takes the processor for another.
const std::vector<Feature>& all_features() {
    static const std::vector<Feature> features{
        {"org.gnu.gdb.i386.core",
         {{"rax", 64, "int64"},    {"rbx", 64, "int64"},    {"rcx", 64, "int64"},
          {"rdx", 64, "int64"},    {"rsi", 64, "int64"},    {"rdi", 64, "int64"},
          {"rbp", 64, "data_ptr"}, {"rsp", 64, "data_ptr"}, {"r8", 64, "int64"},
          {"r9", 64, "int64"},     {"r10", 64, "int64"},    {"r11", 64, "int64"},
          {"r12", 64, "int64"},    {"r13", 64, "int64"},    {"r14", 64, "int64"},
          {"r15", 64, "int64"},    {"rip", 64, "code_ptr"}, {"eflags", 32, "int32"},
          {"cs", 32, "int32"},     {"ss", 32, "int32"},     {"ds", 32, "int32"},
          {"es", 32, "int32"},     {"fs", 32, "int32"},     {"gs", 32, "int32"},
          {"st0", 80, "i387_ext"}, {"st1", 80, "i387_ext"}, {"st2", 80, "i387_ext"},
          {"st3", 80, "i387_ext"}, {"st4", 80, "i387_ext"}, {"st5", 80, "i387_ext"},
          {"st6", 80, "i387_ext"}, {"st7", 80, "i387_ext"}, {"fctrl", 32, "int32"},
          {"fstat", 32, "int32"},  {"ftag", 32, "int32"},   {"fiseg", 32, "int32"},
          {"fioff", 32, "int32"},  {"foseg", 32, "int32"},  {"fooff", 32, "int32"},
          {"fop", 32, "int32"}}},
        {"org.gnu.gdb.i386.sse",
         {{"xmm0", 128, "vec128"},
          {"xmm1", 128, "vec128"},
          {"xmm2", 128, "vec128"},
          {"xmm3", 128, "vec128"},
          {"xmm4", 128, "vec128"},
          {"xmm5", 128, "vec128"},
          {"xmm6", 128, "vec128"},
          {"xmm7", 128, "vec128"},
          {"xmm8", 128, "vec128"},
          {"xmm9", 128, "vec128"},
          {"xmm10", 128, "vec128"},
          {"xmm11", 128, "vec128"},
          {"xmm12", 128, "vec128"},
          {"xmm13", 128, "vec128"},
          {"xmm14", 128, "vec128"},
          {"xmm15", 128, "vec128"},
          {"mxcsr", 32, "int32"}},
         R"(<vector id="v4f" type="ieee_single" count="4"/>)"
         R"(<vector id="v2d" type="ieee_double" count="2"/>)"
         R"(<vector id="v16i8" type="int8" count="16"/>)"
         R"(<vector id="v8i16" type="int16" count="8"/>)"
         R"(<vector id="v4i32" type="int32" count="4"/>)"
         R"(<vector id="v2i64" type="int64" count="2"/>)"
         R"(<union id="vec128"><field name="v4_float" type="v4f"/>)"
         R"(<field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/>)"
         R"(<field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>)"
         R"(<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>)"},
        {"org.gnu.gdb.i386.segments", {{"fs_base", 64, "int64"}, {"gs_base", 64, "int64"}}},
    };
    return features;
}

std::string describe_all() {
    std::string text = R"(<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>)"
                       "<architecture>i386:x86-64</architecture>";
    for (const Feature& feature : all_features()) {
        text += fmt::format(R"(<feature name="{}">{})", feature.name, feature.types);
        for (const Row& row : feature.rows) {
            text += fmt::format(R"(<reg name="{}" bitsize="{}" type="{}"/>)", row.name, row.bits,
                                row.type);
        }
        text += "</feature>";
    }
    return text + "</target>";
}

template <class Number>
void put(std::vector<std::byte>& bytes, Number number) {
    static_assert(std::is_unsigned_v<Number>);
    constexpr unsigned kByteBits = 8;
    for (std::size_t i = 0; i < sizeof number; ++i)
        bytes.push_back(static_cast<std::byte>(number >> (kByteBits * i)));
}

}  // namespace

const std::string& target_description() {
    static const std::string description = describe_all();
    return description;
}

std::vector<std::byte> bytes_of(const Registers& registers) {
    std::vector<std::byte> bytes;
    for (const std::uint64_t value : registers.general)
        put(bytes, value);
    put(bytes, registers.rip);
    put(bytes, registers.rflags);
    for (const std::uint32_t value : registers.selectors)
        put(bytes, value);
    for (const auto& value : registers.st)
        bytes.insert(bytes.end(), value.begin(), value.end());
    for (const std::uint32_t value : registers.x87)
        put(bytes, value);
    for (const auto& value : registers.xmm)
        bytes.insert(bytes.end(), value.begin(), value.end());
    put(bytes, registers.mxcsr);
    put(bytes, registers.fs_base);
    put(bytes, registers.gs_base);
    return bytes;
}

std::optional<RegisterPlace> place_of_register(std::uint64_t number) {
    constexpr unsigned kByteBits = 8;
    std::size_t offset = 0;
    for (const Feature& feature : all_features()) {
        for (const Row& row : feature.rows) {
            const std::size_t bytes = row.bits / kByteBits;
            if (number-- == 0) return RegisterPlace{offset, bytes};
            offset += bytes;
        }
    }
    return std::nullopt;
}

}  // namespace ftvmm::debug
