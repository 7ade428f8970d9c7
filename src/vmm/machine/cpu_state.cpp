#include "vmm/machine/cpu_state.h"

namespace ftvmm::machine {

namespace {

// IA32_APIC_BASE as firmware leaves it: the boot processor's, x2APIC on (Intel SDM volume 3, "Local
// APIC Status and Location").
constexpr std::uint64_t kApicBase = 0xfee0'0d00;

// Bits of XCR0.
constexpr std::uint64_t kX87 = 1U << 0U;
constexpr std::uint64_t kSse = 1U << 1U;
constexpr std::uint64_t kAvx = 1U << 2U;

bool has_xsave(boot::CpuModel model) {
    return model == boot::CpuModel::kV3;
}

std::uint8_t flag(bool value) {
    return value ? 1 : 0;
}

kvm_segment to_kvm(const boot::Segment& from) {
    kvm_segment segment{};
    segment.base = from.base;
    segment.limit = from.limit;
    segment.selector = from.selector;
    segment.type = from.type;
    segment.present = flag(from.present);
    segment.dpl = from.dpl;
    segment.db = flag(from.db);
    segment.s = flag(from.s);
    segment.l = flag(from.l);
    segment.g = flag(from.g);
    return segment;
}

}  // namespace

Result<void> write_entry_state(const kvm::Vcpu& vcpu, const boot::EntryState& entry) {
    FTVMM_ASSIGN(kvm_sregs sregs, vcpu.get_sregs());
    sregs.cs = to_kvm(entry.code);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = to_kvm(entry.data);
    sregs.tr = to_kvm(entry.task);
    sregs.ldt = {};
    sregs.ldt.unusable = 1;
    sregs.gdt.base = entry.gdt_base;
    sregs.gdt.limit = entry.gdt_limit;
    sregs.idt = {};
    sregs.cr0 = entry.cr0;
    sregs.cr3 = entry.cr3;
    sregs.cr4 = entry.cr4;
    sregs.efer = entry.efer;
    sregs.apic_base = kApicBase;
    FTVMM_TRY(vcpu.set_sregs(sregs));
    kvm_regs regs{};
    regs.rip = entry.rip;
    regs.rsi = entry.rsi;
    regs.rsp = entry.rsp;
    regs.rflags = entry.rflags;
    return vcpu.set_regs(regs);
}

replay::CpuRegisters registers_of(const kvm_regs& regs, const kvm_sregs& sregs) {
    return {regs.rax,  regs.rbx,      regs.rcx,      regs.rdx,     regs.rsi,  regs.rdi,  regs.rsp,
            regs.rbp,  regs.r8,       regs.r9,       regs.r10,     regs.r11,  regs.r12,  regs.r13,
            regs.r14,  regs.r15,      regs.rip,      regs.rflags,  sregs.cr0, sregs.cr2, sregs.cr3,
            sregs.cr4, sregs.cs.base, sregs.fs.base, sregs.gs.base};
}

std::uint64_t fpu_parts(boot::CpuModel model) {
    return has_xsave(model) ? kX87 | kSse | kAvx : kX87 | kSse;
}

Result<CpuState> read_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model) {
    CpuState state;
    FTVMM_ASSIGN(state.regs, vcpu.get_regs());
    FTVMM_ASSIGN(state.sregs, vcpu.get_sregs());
    FTVMM_ASSIGN(state.xsave, vcpu.get_xsave());
    // What the guest cannot reach stays out: another host may not have it.
    state.xsave.region[kXstateBvWord] &= static_cast<std::uint32_t>(fpu_parts(model));
    state.xsave.region[kXstateBvWord + 1] = 0;
    if (has_xsave(model)) {
        FTVMM_ASSIGN(const kvm_xcrs xcrs, vcpu.get_xcrs());
        state.xcr0 = xcrs.xcrs[0].value;
    }
    FTVMM_ASSIGN(state.debug, vcpu.get_debugregs());
    FTVMM_ASSIGN(state.events, vcpu.get_vcpu_events());
    FTVMM_ASSIGN(const auto msrs, vcpu.get_msrs(kProcessorMsrs));
    for (std::size_t i = 0; i < msrs.size(); ++i)
        state.msrs.at(i) = msrs[i].data;
    return state;
}

Result<void> write_cpu_state(const kvm::Vcpu& vcpu, boot::CpuModel model, const CpuState& state) {
    FTVMM_TRY(vcpu.set_sregs(state.sregs));
    FTVMM_TRY(vcpu.set_regs(state.regs));
    if (has_xsave(model)) {
        kvm_xcrs xcrs{};
        xcrs.nr_xcrs = 1;
        xcrs.xcrs[0].value = state.xcr0;
        FTVMM_TRY(vcpu.set_xcrs(xcrs));
    }
    FTVMM_TRY(vcpu.set_xsave(state.xsave));
    std::vector<kvm_msr_entry> msrs;
    for (std::size_t i = 0; i < kProcessorMsrs.size(); ++i) {
        kvm_msr_entry entry{};
        entry.index = kProcessorMsrs.at(i);
        entry.data = state.msrs.at(i);
        msrs.push_back(entry);
    }
    FTVMM_TRY(vcpu.set_msrs(msrs));
    FTVMM_TRY(vcpu.set_debugregs(state.debug));
    // Last: setting registers drops what is pending. The flags have KVM take the fields that it
    // otherwise leaves alone (api.rst, KVM_SET_VCPU_EVENTS).
    kvm_vcpu_events events = state.events;
    events.flags |=
        KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
    return vcpu.set_vcpu_events(events);
}

}  // namespace ftvmm::machine
