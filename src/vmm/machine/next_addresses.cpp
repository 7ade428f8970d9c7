#include "vmm/machine/next_addresses.h"

#include <Zydis/Zydis.h>

#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>

namespace ftvmm::machine {

namespace {

constexpr std::uint8_t kExceptions = 32;
constexpr std::uint8_t kBreakpointVector = 3;
constexpr std::uint8_t kOverflowVector = 4;
constexpr std::uint8_t kDebugVector = 1;
constexpr std::uint8_t kSystemCallVector = 0x80;  // Linux's, for programs of 32 bits.
constexpr std::uint16_t kRing = 3;

// AMD64 Architecture Programmer's Manual vol. 2, 6.1.
constexpr std::uint32_t kMsrSysenterEip = 0x176;
constexpr std::uint32_t kMsrLstar = 0xc000'0082;
constexpr std::uint32_t kMsrCstar = 0xc000'0083;

class Follower {
  public:
    explicit Follower(const ProcessorView& view) : view_(view), is_64_bit_(view.sregs.cs.l != 0) {}

    NextAddresses all() {
        for (unsigned vector = 0; vector < kExceptions; ++vector)
            add_handler(static_cast<std::uint8_t>(vector));
        if (view_.has_event) {
            add_handler(view_.interrupt);
        } else if ((view_.sregs.cs.selector & kRing) == kRing) {
            add_kernel_entries();
        } else if (decode()) {
            next_.length = instruction_.length;
            follow();
        }
        return std::move(next_);
    }

  private:
    bool decode() {
        std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes{};
        const std::size_t count = view_.read(linear(view_.regs.rip), bytes);
        ZydisDecoder decoder;
        const auto mode =
            is_64_bit_ ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
        const auto width = is_64_bit_ ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32;
        return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, width)) &&
               ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), count, &instruction_,
                                                   operands_.data()));
    }

    void follow() {
        const std::uint64_t behind = view_.regs.rip + instruction_.length;
        switch (instruction_.meta.category) {
            case ZYDIS_CATEGORY_COND_BR:
                add(behind);
                add_branch();
                return;
            case ZYDIS_CATEGORY_UNCOND_BR:
            case ZYDIS_CATEGORY_CALL:
                // An aborted transaction goes on elsewhere, XBEGIN says where.
                if (instruction_.mnemonic == ZYDIS_MNEMONIC_XBEGIN) add(behind);
                add_branch();
                return;
            default:
                break;
        }
        switch (instruction_.mnemonic) {
            case ZYDIS_MNEMONIC_IRET:
            case ZYDIS_MNEMONIC_IRETD:
            case ZYDIS_MNEMONIC_IRETQ:
                add_kernel_entries();
                [[fallthrough]];
            case ZYDIS_MNEMONIC_RET:
                if (const auto target = load(stack_top(), instruction_.operand_width / 8U))
                    add(*target);
                return;
            case ZYDIS_MNEMONIC_SYSRET:
            case ZYDIS_MNEMONIC_SYSEXIT:
                return add_kernel_entries();
            case ZYDIS_MNEMONIC_INT:
                return add_handler(static_cast<std::uint8_t>(operands_[0].imm.value.u));
            case ZYDIS_MNEMONIC_INT3:
                return add_handler(kBreakpointVector);
            case ZYDIS_MNEMONIC_INT1:
                return add_handler(kDebugVector);
            case ZYDIS_MNEMONIC_INTO:
                add_handler(kOverflowVector);
                return add(behind);
            default:
                return add(behind);
        }
    }

    void add_branch() {
        const ZydisDecodedOperand& operand = operands_[0];
        const ZydisRegisterContext& registers = context();
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
            return add(registers.values[operand.reg.value]);
        }
        if (operand.type == ZYDIS_OPERAND_TYPE_POINTER) return add(operand.ptr.offset);
        ZyanU64 address = 0;
        if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&instruction_, &operand, view_.regs.rip,
                                                     &registers, &address))) {
            return;
        }
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return add(address);
        address += segment_base(operand.mem.segment);
        const bool is_far = instruction_.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
        const std::size_t bytes = is_far ? instruction_.operand_width / 8U : operand.size / 8U;
        if (const auto target = load(address, bytes)) add(*target);
    }

    // The general registers under all the names that an address may have for them.
    const ZydisRegisterContext& context() {
        context_ = std::make_unique<ZydisRegisterContext>();
        const kvm_regs& regs = view_.regs;
        const std::array values{regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp,
                                regs.rsi, regs.rdi, regs.r8,  regs.r9,  regs.r10, regs.r11,
                                regs.r12, regs.r13, regs.r14, regs.r15};
        for (std::size_t i = 0; i < values.size(); ++i) {
            context_->values[ZYDIS_REGISTER_RAX + i] = values.at(i);
            context_->values[ZYDIS_REGISTER_EAX + i] = static_cast<std::uint32_t>(values.at(i));
        }
        return *context_;
    }

    [[nodiscard]] std::uint64_t segment_base(ZydisRegister segment) const {
        const kvm_sregs& sregs = view_.sregs;
        if (segment == ZYDIS_REGISTER_FS) return sregs.fs.base;
        if (segment == ZYDIS_REGISTER_GS) return sregs.gs.base;
        if (is_64_bit_) return 0;
        if (segment == ZYDIS_REGISTER_SS) return sregs.ss.base;
        if (segment == ZYDIS_REGISTER_ES) return sregs.es.base;
        return segment == ZYDIS_REGISTER_CS ? sregs.cs.base : sregs.ds.base;
    }
    [[nodiscard]] std::uint64_t stack_top() const {
        if (is_64_bit_) return view_.regs.rsp;
        return view_.sregs.ss.base + static_cast<std::uint32_t>(view_.regs.rsp);
    }
    [[nodiscard]] std::uint64_t linear(std::uint64_t address) const {
        return is_64_bit_ ? address : static_cast<std::uint32_t>(view_.sregs.cs.base + address);
    }

    [[nodiscard]] std::optional<std::uint64_t> load(std::uint64_t address,
                                                    std::size_t bytes) const {
        std::uint64_t value = 0;
        if (bytes == 0 || bytes > sizeof value) return std::nullopt;
        std::array<std::byte, sizeof value> raw{};
        if (view_.read(address, std::span(raw).first(bytes)) != bytes) return std::nullopt;
        std::memcpy(&value, raw.data(), sizeof value);
        return value;
    }

    void add_handler(std::uint8_t vector) {
        // A gate of long mode (AMD64 APM vol. 2, 4.8.4) holds the offset in three pieces.
        struct Gate {
            std::uint16_t offset_low;
            std::uint16_t selector;
            std::uint16_t attributes;
            std::uint16_t offset_middle;
            std::uint32_t offset_high;
            std::uint32_t reserved;
        };
        const std::uint64_t at = std::uint64_t{vector} * sizeof(Gate);
        if (at + sizeof(Gate) - 1 > view_.sregs.idt.limit) return;
        std::array<std::byte, sizeof(Gate)> raw{};
        if (view_.read(view_.sregs.idt.base + at, raw) != raw.size()) return;
        const auto gate = std::bit_cast<Gate>(raw);
        constexpr unsigned kPresent = 0x8000;
        if ((gate.attributes & kPresent) == 0) return;
        next_.addresses.push_back(std::uint64_t{gate.offset_low} |
                                  std::uint64_t{gate.offset_middle} << 16U |
                                  std::uint64_t{gate.offset_high} << 32U);
    }
    void add(std::uint64_t address) { next_.addresses.push_back(linear(address)); }
    // Where ring 3 is left, but for exceptions.
    void add_kernel_entries() {
        add_handler(kSystemCallVector);
        for (const std::uint32_t msr : {kMsrSysenterEip, kMsrLstar, kMsrCstar})
            next_.addresses.push_back(view_.msr(msr));
    }

    const ProcessorView& view_;
    bool is_64_bit_;
    ZydisDecodedInstruction instruction_{};
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands_{};
    std::unique_ptr<ZydisRegisterContext> context_;
    NextAddresses next_;
};

}  // namespace

NextAddresses next_addresses(const ProcessorView& view) {
    return Follower(view).all();
}

}  // namespace ftvmm::machine
