#include "vmm/boot/tsc_sites.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"

namespace ftvmm::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr TscSite rdtsc_at(std::size_t offset) {
    return {offset, TscKind::kRdtsc};
}
constexpr TscSite rdtscp_at(std::size_t offset) {
    return {offset, TscKind::kRdtscp};
}

Bytes code_bytes(std::initializer_list<int> values) {
    Bytes bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}
Bytes operator+(Bytes left, const Bytes& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}
// How often `bytes` one after the other.
Bytes repeat(std::size_t count, const Bytes& bytes) {
    Bytes result;
    for (std::size_t i = 0; i < count; ++i)
        result.insert(result.end(), bytes.begin(), bytes.end());
    return result;
}

const Bytes rdtsc = code_bytes({0x0f, 0x31});
const Bytes rdtscp = code_bytes({0x0f, 0x01, 0xf9});
const Bytes nop = code_bytes({0x90});
const Bytes no_instruction = code_bytes({0x06});  // PUSH ES, which 64-bit mode does not have.

// An instruction as kernels have them: fixed bytes, then a displacement, an immediate or both.
struct Encoding {
    Bytes fixed;
    std::size_t free_bytes;
};

const std::vector<Encoding> encodings{
    {code_bytes({0x90}), 0},                                // nop
    {code_bytes({0x55}), 0},                                // push %rbp
    {code_bytes({0xc3}), 0},                                // ret
    {code_bytes({0xcc}), 0},                                // int3
    {code_bytes({0x00, 0x00}), 0},                          // add %al,(%rax)
    {code_bytes({0x0f, 0x0b}), 0},                          // ud2
    {code_bytes({0x0f, 0xa2}), 0},                          // cpuid
    {code_bytes({0x31, 0xc0}), 0},                          // xor %eax,%eax
    {code_bytes({0x48, 0x89, 0xe5}), 0},                    // mov %rsp,%rbp
    {code_bytes({0x0f, 0x01, 0xf8}), 0},                    // swapgs
    {code_bytes({0xf3, 0x0f, 0x1e, 0xfa}), 0},              // endbr64
    {code_bytes({0x66, 0x0f, 0xef, 0xc0}), 0},              // pxor %xmm0,%xmm0
    {code_bytes({0xeb}), 1},                                // jmp
    {code_bytes({0x48, 0x8b, 0x45}), 1},                    // mov disp8(%rbp),%rax
    {code_bytes({0x66, 0xb8}), 2},                          // mov $imm16,%ax
    {code_bytes({0xe8}), 4},                                // call
    {code_bytes({0x0f, 0x84}), 4},                          // je
    {code_bytes({0xb8}), 4},                                // mov $imm32,%eax
    {code_bytes({0x81, 0xfb}), 4},                          // cmp $imm32,%ebx
    {code_bytes({0x48, 0x8b, 0x05}), 4},                    // mov disp32(%rip),%rax
    {code_bytes({0x8b, 0x84, 0x24}), 4},                    // mov disp32(%rsp),%eax
    {code_bytes({0x0f, 0x1f, 0x84, 0x00}), 4},              // nopl disp32(%rax,%rax)
    {code_bytes({0xc5, 0xf9, 0x6f, 0x05}), 4},              // vmovdqa disp32(%rip),%xmm0
    {code_bytes({0xf0, 0x48, 0x0f, 0xc1, 0x05}), 4},        // lock xadd %rax,disp32(%rip)
    {code_bytes({0x65, 0x48, 0xc7, 0x04, 0x25}), 8},        // movq $imm32,%gs:disp32
    {code_bytes({0x48, 0xc7, 0x84, 0x24}), 8},              // movq $imm32,disp32(%rsp)
    {code_bytes({0x48, 0xb8}), 8},                          // movabs $imm64,%rax
    {code_bytes({0x66, 0x48, 0x0f, 0x3a, 0x16, 0x05}), 5},  // pextrq $imm8,%xmm0,disp32(%rip)
};

// Code made up from a seed, with what is in it.
class CodeWriter {
  public:
    explicit CodeWriter(std::uint64_t seed) : entropy_(seed) {}

    void write_instructions(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            switch (entropy_.below(16)) {
                case 0:
                    write_site();
                    break;
                case 1:
                    write_run();
                    break;
                default:
                    append(instruction());
                    break;
            }
        }
    }

    // Bytes that are no code, those of RDTSC among them.
    void write_data() {
        Bytes data(entropy_.below(40));
        entropy_.fill(data);
        plant_candidate(data);
        append(data);
    }

    void start_function() { functions_.push_back(code_.size()); }

    [[nodiscard]] const Bytes& code() const { return code_; }
    [[nodiscard]] const std::vector<TscSite>& sites() const { return sites_; }
    [[nodiscard]] const std::vector<std::size_t>& functions() const { return functions_; }

  private:
    void append(const Bytes& bytes) { code_.insert(code_.end(), bytes.begin(), bytes.end()); }

    void plant_candidate(std::span<std::byte> bytes) {
        const Bytes& pattern = entropy_.below(2) == 0 ? rdtsc : rdtscp;
        if (bytes.size() < pattern.size()) return;
        std::ranges::copy(pattern,
                          bytes.subspan(entropy_.below(bytes.size() - pattern.size() + 1)).begin());
    }

    Bytes instruction() {
        const Encoding& encoding = encodings[entropy_.below(encodings.size())];
        Bytes bytes = encoding.fixed;
        bytes.resize(encoding.fixed.size() + encoding.free_bytes);
        const auto rest = std::span(bytes).subspan(encoding.fixed.size());
        entropy_.fill(rest);
        if (entropy_.below(3) == 0) plant_candidate(rest);
        return bytes;
    }

    void write_site() {
        constexpr std::array kPrefixes{0x66, 0xf3, 0x48, 0x65};
        if (entropy_.below(4) == 0)
            append(code_bytes({kPrefixes[entropy_.below(kPrefixes.size())]}));
        const bool with_processor = entropy_.below(2) == 0;
        sites_.push_back(with_processor ? rdtscp_at(code_.size()) : rdtsc_at(code_.size()));
        append(with_processor ? rdtscp : rdtsc);
    }

    // The same again and again: sweeps that start differently stay apart in some of these, as in
    // the constant of a MOV that looks like the MOV.
    void write_run() {
        const Bytes once =
            entropy_.below(2) == 0 ? repeat(5, code_bytes({0x48, 0xb8})) : instruction();
        append(repeat(entropy_.below(150), once));
    }

    SeededEntropy entropy_;
    Bytes code_;
    std::vector<TscSite> sites_;
    std::vector<std::size_t> functions_;
};

TEST_CASE("Of made-up code, the stretches before candidates tell the same as the whole") {
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        CodeWriter writer(seed);
        writer.write_instructions(400);
        const TscSites whole = sweep_all(writer.code(), {});
        const TscSites near = sweep_candidates(writer.code(), {});
        INFO("seed " << seed);
        REQUIRE(whole.sites == writer.sites());
        REQUIRE(near.doubtful == std::nullopt);
        REQUIRE(near.sites == whole.sites);
        REQUIRE(near.lookalikes == whole.lookalikes);
        REQUIRE(near.swept_bytes <= whole.swept_bytes);
        REQUIRE(near.undecoded_bytes == 0);
    }
}

TEST_CASE("Data in code leaves a candidate doubtful or does not change what is told of it") {
    std::size_t doubtful = 0;
    std::size_t decided = 0;
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        CodeWriter writer(seed);
        for (int i = 0; i < 3; ++i) {
            writer.write_instructions(60);
            writer.write_data();
        }
        const TscSites whole = sweep_all(writer.code(), {});
        const TscSites near = sweep_candidates(writer.code(), {});
        INFO("seed " << seed);
        const auto until = near.doubtful.value_or(writer.code().size());
        const auto rest = std::ranges::lower_bound(whole.sites, until, {}, &TscSite::offset);
        REQUIRE(near.sites == std::vector(whole.sites.begin(), rest));
        ++(near.doubtful ? doubtful : decided);
    }
    CHECK(doubtful > 100);
    CHECK(decided > 100);
}

TEST_CASE("After data, a function's symbol says where code goes on") {
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        CodeWriter writer(seed);

        for (int i = 0; i < 4; ++i) {
            writer.start_function();
            writer.write_instructions(60);
            writer.start_function();
            writer.write_data();
        }
        const TscSites whole = sweep_all(writer.code(), writer.functions());
        const TscSites near = sweep_candidates(writer.code(), writer.functions());
        INFO("seed " << seed);
        const auto until = near.doubtful.value_or(writer.code().size());
        const auto rest = std::ranges::lower_bound(whole.sites, until, {}, &TscSite::offset);
        REQUIRE(near.sites == std::vector(whole.sites.begin(), rest));
        REQUIRE(std::ranges::includes(whole.sites, writer.sites(), {}, &TscSite::offset,
                                      &TscSite::offset));
    }
}

TEST_CASE("Where code reads the TSC") {
    struct Case {
        const char* what;
        Bytes code;
        std::vector<std::size_t> functions;
        std::vector<TscSite> sites;
        std::size_t lookalikes;
    };
    // movabs $0x310f310f00000000,%rax
    const Bytes two_in_one = code_bytes({0x48, 0xb8, 0, 0, 0, 0, 0x0f, 0x31, 0x0f, 0x31});
    const Bytes mov = code_bytes({0xb8, 0x90, 0x90});  // Without two bytes of its constant.
    const std::vector<Case> cases{
        {"nothing", {}, {}, {}, 0},
        {"the first and the last instruction",
         rdtsc + nop + rdtscp,
         {},
         {rdtsc_at(0), rdtscp_at(3)},
         0},
        {"one cut off", nop + code_bytes({0x0f, 0x01}), {}, {}, 0},
        {"behind prefixes", code_bytes({0xf3, 0x66}) + rdtsc, {}, {rdtsc_at(2)}, 0},
        {"two in one constant, and one behind it", two_in_one + rdtsc, {}, {rdtsc_at(10)}, 2},
        {"a constant", repeat(300, nop) + mov + rdtsc, {}, {}, 1},
        {"zeros in pairs are instructions",
         repeat(100'000, code_bytes({0})) + rdtsc,
         {},
         {rdtsc_at(100'000)},
         0},
        {"an odd zero takes a byte with it", repeat(100'001, code_bytes({0})) + rdtsc, {}, {}, 1},
        {"a function in what looks like a constant",
         repeat(300, nop) + mov + rdtsc,
         {303},
         {rdtsc_at(303)},
         0},
        {"a function behind what looks like a prefix",
         repeat(300, nop) + code_bytes({0x48}) + rdtsc,
         {301},
         {rdtsc_at(301)},
         0},
        {"data before a function",
         repeat(300, nop) + no_instruction + rdtsc,
         {301},
         {rdtsc_at(301)},
         0},
        {"data, then code",
         repeat(300, no_instruction) + repeat(20, nop) + rdtsc,
         {},
         {rdtsc_at(320)},
         0},
    };
    for (const Case& one : cases) {
        INFO(one.what);
        const TscSites whole = sweep_all(one.code, one.functions);
        const TscSites near = sweep_candidates(one.code, one.functions);
        CHECK(whole.sites == one.sites);
        CHECK(near.sites == one.sites);
        CHECK(whole.lookalikes == one.lookalikes);
        CHECK(near.lookalikes == one.lookalikes);
        CHECK(near.doubtful == std::nullopt);
    }
}

TEST_CASE("The same bytes read the TSC in 32-bit code and are a constant in 64-bit code") {
    // movabs $0x9090310f90909090,%rax or dec %eax; mov $0x90909090,%eax; rdtsc; nop; nop
    const Bytes code = repeat(300, nop) + code_bytes({0x48, 0xb8, 0x90, 0x90, 0x90, 0x90}) + rdtsc +
                       nop + nop + rdtscp;
    const std::vector in_32_bit{rdtsc_at(306), rdtscp_at(310)};
    CHECK(sweep_all(code, {}, CodeMode::k32Bit).sites == in_32_bit);
    CHECK(sweep_candidates(code, {}, CodeMode::k32Bit).sites == in_32_bit);
    CHECK(sweep_all(code, {}, CodeMode::k64Bit).sites == std::vector{rdtscp_at(310)});
    CHECK(sweep_candidates(code, {}, CodeMode::k64Bit).sites == std::vector{rdtscp_at(310)});
}

// The zeros are two-byte instructions, so sweeps that differ by one byte never meet in them, and
// all that start within the first instruction come to them one byte too early.
TEST_CASE("Sweeps that meet on a wrong path do not decide, wherever the stretch starts") {
    const Bytes long_one =
        code_bytes({0x81, 0x84, 0x24, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0});
    for (std::size_t zeros = 0; zeros < 1200; zeros += 2) {
        const Bytes code = repeat(1500, nop) + long_one + repeat(zeros, code_bytes({0})) + rdtsc;
        INFO(zeros << " zeros");
        REQUIRE(sweep_candidates(code, {}).sites == std::vector{rdtsc_at(code.size() - 2)});
    }
}

TEST_CASE("RDTSC's bytes right behind data are doubtful, and nothing behind them is told") {
    const Bytes code = rdtsc + repeat(300, nop) + no_instruction + rdtsc + nop + rdtscp;
    const TscSites near = sweep_candidates(code, {});
    CHECK(near.sites == std::vector{rdtsc_at(0)});
    CHECK(near.doubtful == std::size_t{303});
}

TEST_CASE("What does not decode is counted once, and not where sweeps have yet to meet") {
    const Bytes padding = repeat(20, nop);
    const Bytes code = rdtsc + repeat(30, no_instruction) + padding + rdtsc + padding + rdtsc;
    CHECK(sweep_all(code, {}).undecoded_bytes == 30);
    const TscSites near = sweep_candidates(code, {});
    CHECK(near.sites.size() == 3);
    CHECK(near.undecoded_bytes == 30);
    CHECK(near.swept_bytes == code.size() - rdtsc.size());
    // Read from within, these are instructions that do not exist.
    const Bytes constants = code_bytes({0xb8, 0x06, 0x06, 0x06, 0x06});
    CHECK(sweep_candidates(repeat(1000, constants) + padding + rdtsc, {}).undecoded_bytes == 0);
}

TEST_CASE("Where no candidate is, nothing is swept") {
    CHECK(sweep_candidates(repeat(1000, no_instruction), {}).swept_bytes == 0);
    CHECK(sweep_candidates(repeat(1000, nop) + rdtsc, {}).swept_bytes < 200);
}

}  // namespace
}  // namespace ftvmm::boot
