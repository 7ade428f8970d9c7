#include "vmm/boot/disassemble.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <array>
#include <optional>

#include "base/check.h"

namespace ftvmm::boot {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kInstructionsBefore = 3;
constexpr std::size_t kInstructionsFrom = 5;
static_assert(kBytesFrom >= kInstructionsFrom * ZYDIS_MAX_INSTRUCTION_LENGTH);

struct Instruction {
    std::size_t bytes;
    std::string text;
};

class Decoder {
  public:
    explicit Decoder(CodeSize size) {
        const bool ready =
            ZYAN_SUCCESS(init(size)) &&
            ZYAN_SUCCESS(::ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL));
        FTVMM_CHECK(ready, "the disassembler knows all modes");
    }

    // Nothing: no instruction starts with `code`.
    [[nodiscard]] std::optional<Instruction> at(std::uint64_t address, Bytes code) const {
        ZydisDecodedInstruction decoded;
        std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
        if (!ZYAN_SUCCESS(::ZydisDecoderDecodeFull(&decoder_, code.data(), code.size(), &decoded,
                                                   operands.data()))) {
            return std::nullopt;
        }
        std::array<char, 256> text{};
        const auto formatted = ::ZydisFormatterFormatInstruction(
            &formatter_, &decoded, operands.data(), decoded.operand_count_visible, text.data(),
            text.size(), address, nullptr);
        return Instruction{decoded.length, ZYAN_SUCCESS(formatted) ? text.data() : "?"};
    }

  private:
    ZyanStatus init(CodeSize size) {
        switch (size) {
            case CodeSize::k16Bit:
                return ::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LEGACY_16,
                                          ZYDIS_STACK_WIDTH_16);
            case CodeSize::k32Bit:
                return ::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LEGACY_32,
                                          ZYDIS_STACK_WIDTH_32);
            case CodeSize::k64Bit:
                break;
        }
        return ::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }

    ZydisDecoder decoder_{};
    ZydisFormatter formatter_{};
};

std::string line_of(bool is_marked, std::uint64_t address, Bytes code, const std::string& text) {
    std::string bytes;
    for (const std::byte byte : code)
        bytes += fmt::format("{:02x} ", std::to_integer<unsigned>(byte));
    return fmt::format("{} {:016x}  {:<24} {}", is_marked ? '>' : ' ', address, bytes, text);
}

// The instructions of `code` from `start` on, if they end where it ends.
std::optional<std::vector<std::string>> sweep(const Decoder& decoder, std::uint64_t end, Bytes code,
                                              std::size_t start) {
    std::vector<std::string> lines;
    while (start < code.size()) {
        const std::uint64_t address = end - (code.size() - start);
        const auto instruction = decoder.at(address, code.subspan(start));
        if (!instruction) return std::nullopt;
        lines.push_back(
            line_of(false, address, code.subspan(start, instruction->bytes), instruction->text));
        start += instruction->bytes;
    }
    return lines;
}

// Sweeps from different places come together soon, so the longest that comes to `end` is on the
// path of the code, if any is.
std::vector<std::string> lines_before(const Decoder& decoder, std::uint64_t end, Bytes code) {
    for (std::size_t start = 0; start < code.size(); ++start) {
        auto lines = sweep(decoder, end, code, start);
        if (!lines) continue;
        if (lines->size() > kInstructionsBefore) {
            lines->erase(lines->begin(), lines->end() - kInstructionsBefore);
        }
        return std::move(*lines);
    }
    return {};
}

}  // namespace

std::vector<std::string> disassemble_around(std::uint64_t address, Bytes before, Bytes from,
                                            CodeSize size) {
    const Decoder decoder(size);
    auto lines = lines_before(decoder, address, before);
    std::size_t offset = 0;
    for (std::size_t i = 0; i < kInstructionsFrom; ++i) {
        const Bytes rest = from.subspan(offset);
        const std::uint64_t here = address + offset;
        if (rest.empty()) {
            lines.push_back(line_of(i == 0, here, {}, "(no memory that can be read)"));
            break;
        }
        const auto instruction = decoder.at(here, rest);
        const std::size_t bytes = instruction ? instruction->bytes : 1;
        lines.push_back(line_of(i == 0, here, rest.first(bytes),
                                instruction ? instruction->text : "(no instruction)"));
        offset += bytes;
    }
    return lines;
}

}  // namespace ftvmm::boot
