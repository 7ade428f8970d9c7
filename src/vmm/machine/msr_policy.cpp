#include "vmm/machine/msr_policy.h"

#include <algorithm>
#include <vector>

namespace ftvmm::machine {

namespace {

// A stretch of MSRs with a bit for each that KVM may handle.
struct Range {
    std::uint32_t first;
    std::uint32_t count;
};
constexpr std::array kRanges{
    Range{0x174, 3},
    Range{0x277, 1},
    Range{0xc000'0080, 5},
    Range{0xc000'0100, 3},
};

// Values that Linux looks for without asking CPUID first. A register that is not here does not
// exist.
struct Constant {
    std::uint32_t msr;
    std::uint64_t value;
    bool writable;  // Takes any write and forgets it.
};
constexpr std::array kConstants{
    Constant{0x10, 0, true},             // IA32_TIME_STAMP_COUNTER: hidden, and it stands still.
    Constant{0x1b, 0xfee0'0d00, false},  // IA32_APIC_BASE: the boot processor, x2APIC on.
    Constant{0x8b, 0, true},             // IA32_BIOS_SIGN_ID: no microcode is loaded.
    Constant{0x1d9, 0, true},            // IA32_DEBUGCTL: nothing can be switched on.
    Constant{0xc001'0015, 0, true},      // AMD's HWCR.
    Constant{0xc001'001f, 0,
             true},  // AMD's NB_CFG1: Linux asks for extended PCI access through ports.
    Constant{0xc001'1029, 2, true},  // AMD's DE_CFG: LFENCE waits for what is before it.
};

}  // namespace

Result<void> install_msr_filter(const kvm::Vm& vm) {
    constexpr std::uint32_t kBitsPerByte = 8;
    std::array<std::array<std::uint8_t, 1>, kRanges.size()> bitmaps{};
    kvm_msr_filter filter{};
    filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
    for (std::size_t i = 0; i < kRanges.size(); ++i) {
        static_assert(std::all_of(kRanges.begin(), kRanges.end(),
                                  [](const Range& range) { return range.count <= kBitsPerByte; }));
        bitmaps.at(i) = {static_cast<std::uint8_t>((1U << kRanges.at(i).count) - 1)};
        kvm_msr_filter_range& range = filter.ranges[i];
        range.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
        range.base = kRanges.at(i).first;
        range.nmsrs = kRanges.at(i).count;
        range.bitmap = bitmaps.at(i).data();
    }
    return vm.x86_set_msr_filter(filter);
}

std::optional<std::uint64_t> read_constant_msr(std::uint32_t msr) {
    for (const auto& constant : kConstants) {
        if (constant.msr == msr) return constant.value;
    }
    return std::nullopt;
}

bool write_constant_msr(std::uint32_t msr, std::uint64_t value) {
    for (const auto& constant : kConstants) {
        if (constant.msr == msr) return constant.writable || value == constant.value;
    }
    return false;
}

}  // namespace ftvmm::machine
