#include "vmm/boot/tsc_patch.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/check.h"
#include "vmm/boot/load_bytes.h"

namespace ftvmm::boot {

namespace {

// Encodings (AMD64 Architecture Programmer's Manual vol. 3). Prefixes, if any, stay in front: they
// change neither what the replacement does nor its length.
constexpr std::array kRdtscBytes{std::byte{0x0f}, std::byte{0x31}};
constexpr std::array kRdtscpBytes{std::byte{0x0f}, std::byte{0x01}, std::byte{0xf9}};
constexpr std::array kMovEaxEax{std::byte{0x89}, std::byte{0xc0}};
constexpr std::array kMovEaxEaxNop{std::byte{0x89}, std::byte{0xc0}, std::byte{0x90}};

enum class Kind { kOther, kRdtsc, kRdtscp };

class Decoder {
  public:
    Decoder() {
        // Minimal mode finds lengths and opcodes, which is all that is asked, at several times the
        // speed.
        const bool ready = ZYAN_SUCCESS(::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64,
                                                           ZYDIS_STACK_WIDTH_64)) &&
                           ZYAN_SUCCESS(::ZydisDecoderEnableMode(
                               &decoder_, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE));
        FTVMM_CHECK(ready, "the disassembler knows 64-bit mode");
    }

    struct Instruction {
        std::size_t bytes;  // 0: none that is known starts here.
        Kind kind;
    };
    [[nodiscard]] Instruction decode(std::span<const std::byte> code) const {
        ZydisDecodedInstruction instruction;
        if (!ZYAN_SUCCESS(::ZydisDecoderDecodeInstruction(&decoder_, nullptr, code.data(),
                                                          code.size(), &instruction))) {
            return {0, Kind::kOther};
        }
        return {instruction.length, kind_of(instruction, code.first(instruction.length))};
    }

  private:
    static Kind kind_of(const ZydisDecodedInstruction& instruction,
                        std::span<const std::byte> code) {
        if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
            instruction.opcode_map != ZYDIS_OPCODE_MAP_0F) {
            return Kind::kOther;
        }
        const auto ends_with = [&](auto pattern) {
            return code.size() >= pattern.size() &&
                   std::ranges::equal(code.last(pattern.size()), pattern);
        };
        if (instruction.opcode == 0x31 && ends_with(kRdtscBytes)) return Kind::kRdtsc;
        if (instruction.opcode == 0x01 && ends_with(kRdtscpBytes)) return Kind::kRdtscp;
        return Kind::kOther;
    }

    ZydisDecoder decoder_{};
};

// How often RDTSC's bytes still stand in `code`.
std::size_t count_lookalikes(std::span<const std::byte> code) {
    std::size_t count = 0;
    for (auto at = code.begin();; ++at, ++count) {
        at = std::search(at, code.end(), kRdtscBytes.begin(), kRdtscBytes.end());
        if (at == code.end()) return count;
    }
}

// Sweeps `code`, which is `section`. A function's symbol starts a new instruction even where the
// one before it seems to reach beyond: so data before a function cannot hide its first bytes.
PatchedSection patch_section(const Decoder& decoder, const ElfSection& section,
                             std::span<const std::uint64_t> functions, std::span<std::byte> code) {
    PatchedSection report{section.name, section.bytes};
    auto function = std::ranges::lower_bound(functions, section.address);
    std::size_t offset = 0;
    while (offset < code.size()) {
        const auto rest = code.subspan(offset);
        const auto instruction = decoder.decode(rest);
        if (instruction.kind == Kind::kRdtsc) {
            std::ranges::copy(kMovEaxEax,
                              rest.subspan(instruction.bytes - kMovEaxEax.size()).begin());
            ++report.rdtsc;
        } else if (instruction.kind == Kind::kRdtscp) {
            std::ranges::copy(kMovEaxEaxNop,
                              rest.subspan(instruction.bytes - kMovEaxEaxNop.size()).begin());
            ++report.rdtscp;
        } else if (instruction.bytes == 0) {
            ++report.undecoded_bytes;
        }
        const std::size_t next = offset + std::max<std::size_t>(instruction.bytes, 1);
        while (function != functions.end() && *function - section.address <= offset)
            ++function;
        const bool crosses = function != functions.end() && *function - section.address < next;
        offset = crosses ? *function - section.address : next;
    }
    report.lookalikes = count_lookalikes(code);
    return report;
}

}  // namespace

std::size_t TscPatchReport::sites() const {
    return std::accumulate(
        sections.begin(), sections.end(), std::size_t{0},
        [](std::size_t sum, const PatchedSection& section) { return sum + section.sites(); });
}

std::string TscPatchReport::summary() const {
    std::string parts;
    for (const auto& section : sections) {
        if (section.sites() == 0) continue;
        parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", section.name, section.sites());
    }
    return fmt::format("{} sites ({})", sites(), parts);
}

Result<TscPatchReport> patch_tsc(std::span<std::byte> bytes, const ElfFile& elf) {
    const Decoder decoder;
    TscPatchReport report;
    for (const auto& section : elf.sections) {
        if (!section.executable || section.bytes == 0) continue;
        const auto code = slice(bytes, section.file_offset, section.bytes);
        FTVMM_CHECK(code.has_value(), "parse_elf keeps sections within their file");
        report.sections.push_back(patch_section(decoder, section, elf.functions, *code));
        const auto& patched = report.sections.back();
        if (patched.undecoded_bytes >
            std::max<std::size_t>(kMaxUndecodedBytes, section.bytes / kUndecodedShare)) {
            return fail(fmt::format("{} of the {} bytes in the kernel's {} do not decode as "
                                    "instructions: RDTSC cannot be taken out with certainty",
                                    patched.undecoded_bytes, section.bytes, section.name),
                        "use a distribution's stock kernel");
        }
    }
    if (report.sections.empty()) {
        return fail(
            "the kernel has no section headers that tell its code from its data: RDTSC "
            "cannot be taken out",
            "give the distribution's bzImage, or a vmlinux with its section headers");
    }
    return report;
}

}  // namespace ftvmm::boot
