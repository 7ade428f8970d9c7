// Where a KvmMachine stands, for people.
#include <algorithm>
#include <array>
#include <type_traits>
#include <variant>

#include "vmm/boot/disassemble.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::machine {

namespace {

constexpr std::uint64_t kEferLongModeActive = 1U << 10U;

boot::CodeSize code_size_of(const kvm_sregs& sregs) {
    if ((sregs.efer & kEferLongModeActive) != 0 && sregs.cs.l != 0) return boot::CodeSize::k64Bit;
    return sregs.cs.db != 0 ? boot::CodeSize::k32Bit : boot::CodeSize::k16Bit;
}

using replay::ExitReason;
// In the order of kvm::Exit's alternatives.
constexpr std::array kReasons{ExitReason::kIn,        ExitReason::kOut,    ExitReason::kMmioRead,
                              ExitReason::kMmioWrite, ExitReason::kRdmsr,  ExitReason::kWrmsr,
                              ExitReason::kHalt,      ExitReason::kWindow, ExitReason::kShutdown,
                              ExitReason::kOther,     ExitReason::kOther,  ExitReason::kOther,
                              ExitReason::kOther,     ExitReason::kOther,  ExitReason::kOther};
static_assert(kReasons.size() == std::variant_size_v<kvm::Exit>);
static_assert(std::is_same_v<std::variant_alternative_t<0, kvm::Exit>, kvm::exit::IoIn> &&
              std::is_same_v<std::variant_alternative_t<5, kvm::Exit>, kvm::exit::Wrmsr> &&
              std::is_same_v<std::variant_alternative_t<8, kvm::Exit>, kvm::exit::Shutdown>);

}  // namespace

std::optional<replay::ExitFacts> KvmMachine::last_exit() const {
    const ExitDigest::LastExit& last = digest_.last();
    if (last.kind == std::variant_npos) return std::nullopt;
    const auto now = registers();
    if (!now) return std::nullopt;
    return replay::ExitFacts{kReasons.at(last.kind), last.where, last.how, *now};
}

std::optional<replay::CpuRegisters> KvmMachine::registers() const {
    const auto regs = vm_.vcpu.get_regs();
    const auto sregs = vm_.vcpu.get_sregs();
    if (!regs || !sregs) return std::nullopt;
    return registers_of(*regs, *sregs);
}

std::vector<std::string> KvmMachine::code() const {
    const auto regs = vm_.vcpu.get_regs();
    const auto sregs = vm_.vcpu.get_sregs();
    if (!regs || !sregs) return {};
    const boot::CodeSize size = code_size_of(*sregs);
    // In 64-bit mode the processor takes the base for zero, whatever KVM tells of it.
    const std::uint64_t base = size == boot::CodeSize::k64Bit ? 0 : sregs->cs.base;
    const std::uint64_t address = base + regs->rip;
    std::vector<std::byte> before;
    while (before.size() < boot::kBytesBefore) {
        const auto byte = code_byte(address - before.size() - 1);
        if (!byte) break;
        before.push_back(*byte);
    }
    std::ranges::reverse(before);
    std::vector<std::byte> from;
    while (from.size() < boot::kBytesFrom) {
        const auto byte = code_byte(address + from.size());
        if (!byte) break;
        from.push_back(*byte);
    }
    return boot::disassemble_around(address, before, from, size);
}

}  // namespace ftvmm::machine
