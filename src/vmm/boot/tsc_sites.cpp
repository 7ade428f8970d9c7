#include "vmm/boot/tsc_sites.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace ftvmm::boot {

namespace {

using Bytes = std::span<const std::byte>;
using Offsets = std::span<const std::size_t>;

// Encodings (AMD64 Architecture Programmer's Manual vol. 3).
constexpr std::array kRdtscBytes{std::byte{0x0f}, std::byte{0x31}};
constexpr std::array kRdtscpBytes{std::byte{0x0f}, std::byte{0x01}, std::byte{0xf9}};

constexpr std::size_t kLongestInstruction = ZYDIS_MAX_INSTRUCTION_LENGTH;
// Compilers' code brings sweeps together within some 30 bytes.
constexpr std::size_t kFirstStretchBytes = 128;
constexpr std::size_t kWidening = 8;

// The last byte of either encoding is a rare one in code, the first is not.
void find_pattern(Bytes code, Bytes pattern, TscKind kind, std::vector<TscSite>& found) {
    const std::size_t before = pattern.size() - 1;
    const int last = std::to_integer<int>(pattern.back());
    for (std::size_t at = before; at < code.size(); ++at) {
        const void* hit = std::memchr(code.data() + at, last, code.size() - at);
        if (hit == nullptr) return;
        at = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - code.data());
        if (std::memcmp(code.data() + at - before, pattern.data(), before) == 0) {
            found.push_back({at - before, kind});
        }
    }
}

std::vector<TscSite> find_candidates(Bytes code) {
    std::vector<TscSite> found;
    find_pattern(code, kRdtscBytes, TscKind::kRdtsc, found);
    find_pattern(code, kRdtscpBytes, TscKind::kRdtscp, found);
    std::ranges::sort(found, {}, &TscSite::offset);
    return found;
}

// What stands at one offset of the code.
struct Instruction {
    bool known;
    // Its own, but not beyond the next function. Of an unknown one: how far it may reach.
    std::size_t bytes;
    std::optional<TscSite> site;
};

class Disassembler {
  public:
    Disassembler(Bytes code, Offsets functions, CodeMode mode)
        : code_(code), functions_(functions) {
        // A 64-bit kernel runs 32-bit code in compatibility mode. Minimal mode finds lengths and
        // opcodes, which is all that is asked, at several times the speed.
        const auto init =
            mode == CodeMode::k64Bit
                ? ::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
                : ::ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                     ZYDIS_STACK_WIDTH_32);
        const bool ready =
            ZYAN_SUCCESS(init) && ZYAN_SUCCESS(::ZydisDecoderEnableMode(
                                      &decoder_, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE));
        FTVMM_CHECK(ready, "the disassembler knows both modes");
    }

    [[nodiscard]] Instruction at(std::size_t offset) const {
        const Bytes rest = code_.subspan(offset);
        const auto function = std::ranges::upper_bound(functions_, offset);
        const std::size_t room =
            function == functions_.end() ? rest.size() : std::min(rest.size(), *function - offset);
        ZydisDecodedInstruction decoded;
        if (!ZYAN_SUCCESS(::ZydisDecoderDecodeInstruction(&decoder_, nullptr, rest.data(),
                                                          rest.size(), &decoded))) {
            return {false, std::min(room, kLongestInstruction), std::nullopt};
        }
        auto site = site_of(decoded, offset);
        // What a function cuts off in front of its opcode is looked at again as the function.
        if (site && site->offset - offset >= room) site.reset();
        return {true, std::min<std::size_t>(room, decoded.length), site};
    }

  private:
    [[nodiscard]] std::optional<TscSite> site_of(const ZydisDecodedInstruction& decoded,
                                                 std::size_t offset) const {
        if (decoded.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
            decoded.opcode_map != ZYDIS_OPCODE_MAP_0F) {
            return std::nullopt;
        }
        const Bytes bytes = code_.subspan(offset, decoded.length);
        const auto ends_with = [&](auto pattern) {
            return bytes.size() >= pattern.size() &&
                   std::ranges::equal(bytes.last(pattern.size()), pattern);
        };
        const std::size_t end = offset + bytes.size();
        if (decoded.opcode == 0x31 && ends_with(kRdtscBytes)) {
            return TscSite{end - kRdtscBytes.size(), TscKind::kRdtsc};
        }
        if (decoded.opcode == 0x01 && ends_with(kRdtscpBytes)) {
            return TscSite{end - kRdtscpBytes.size(), TscKind::kRdtscp};
        }
        return std::nullopt;
    }

    Bytes code_;
    Offsets functions_;
    ZydisDecoder decoder_{};
};

// Several sweeps side by side: bit n of `starts` is set where one of them has come to `base` + n.
// Bit 0 is always set, and as no step is longer than an instruction, 16 bits hold them all.
class Front {
  public:
    static Front certain_at(std::size_t base) { return {base, 1}; }
    static Front anywhere_from(std::size_t base) { return {base, (1U << kLongestInstruction) - 1}; }

    [[nodiscard]] std::size_t base() const { return base_; }
    [[nodiscard]] bool certain() const { return starts_ == 1; }

    // Takes those that are at the base over `instruction`, which is there.
    void step(const Instruction& instruction) {
        const std::uint32_t end = 1U << instruction.bytes;
        const std::uint32_t any = (end << 1) - 2;  // 1 to instruction.bytes.
        starts_ = (starts_ & ~1U) | (instruction.known ? end : any);
        const int bytes = std::countr_zero(starts_);
        base_ += static_cast<std::size_t>(bytes);
        starts_ >>= bytes;
    }

  private:
    Front(std::size_t base, std::uint32_t starts) : base_(base), starts_(starts) {}

    std::size_t base_;
    std::uint32_t starts_;
};

// The instruction that a candidate belongs to.
struct Owner {
    std::size_t offset;
    bool is_candidate;
    std::size_t swept_bytes;  // Between where the sweeps met and it.
    std::size_t undecoded_bytes;
};

// Nothing where the sweeps of `front` have not met before they come to the candidate.
std::optional<Owner> sweep_to(const TscSite& candidate, Front front, const Disassembler& code) {
    std::optional<std::size_t> met;
    std::size_t undecoded_bytes = 0;
    while (front.base() <= candidate.offset) {
        if (!met && front.certain()) met = front.base();
        const auto instruction = code.at(front.base());
        if (instruction.known && front.base() + instruction.bytes > candidate.offset) {
            if (!front.certain()) return std::nullopt;  // Certain implies met.
            return Owner{front.base(), instruction.site == candidate, front.base() - *met,
                         undecoded_bytes};
        }
        // Before they meet, most of them are at places where no instruction starts.
        if (met && !instruction.known) ++undecoded_bytes;
        front.step(instruction);
    }
    return std::nullopt;
}

// `certain` is the offset of an instruction, at or before the candidate's.
std::optional<Owner> find_owner(const TscSite& candidate, std::size_t certain,
                                const Disassembler& code) {
    const std::size_t most = candidate.offset - certain;
    for (std::size_t stretch = kFirstStretchBytes; stretch < most; stretch *= kWidening) {
        const auto owner =
            sweep_to(candidate, Front::anywhere_from(candidate.offset - stretch), code);
        if (owner) return owner;
    }
    return sweep_to(candidate, Front::certain_at(certain), code);
}

}  // namespace

TscSites sweep_all(Bytes code, Offsets functions, CodeMode mode) {
    const Disassembler disassembler(code, functions, mode);
    TscSites result;
    for (std::size_t offset = 0; offset < code.size();) {
        const auto instruction = disassembler.at(offset);
        if (instruction.site) result.sites.push_back(*instruction.site);
        if (!instruction.known) ++result.undecoded_bytes;
        offset += instruction.known ? instruction.bytes : 1;
    }
    result.lookalikes = find_candidates(code).size() - result.sites.size();
    result.swept_bytes = code.size();
    return result;
}

TscSites sweep_candidates(Bytes code, Offsets functions, CodeMode mode) {
    const Disassembler disassembler(code, functions, mode);
    TscSites result;
    // Moves from candidate to candidate, so no byte is swept for two of them and even code in which
    // sweeps never meet takes little longer than sweep_all.
    std::size_t certain = 0;
    for (const TscSite& candidate : find_candidates(code)) {
        const auto owner = find_owner(candidate, certain, disassembler);
        if (!owner) {
            result.doubtful = candidate.offset;
            return result;
        }
        if (owner->is_candidate) {
            result.sites.push_back(candidate);
        } else {
            ++result.lookalikes;
        }
        result.swept_bytes += owner->swept_bytes;
        result.undecoded_bytes += owner->undecoded_bytes;
        certain = owner->offset;
    }
    return result;
}

}  // namespace ftvmm::boot
