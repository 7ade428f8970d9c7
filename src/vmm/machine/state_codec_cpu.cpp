#include <cstring>

#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

namespace {

pb::Cpu::Registers encode(const kvm_regs& regs) {
    pb::Cpu::Registers to;
    to.set_rax(regs.rax);
    to.set_rbx(regs.rbx);
    to.set_rcx(regs.rcx);
    to.set_rdx(regs.rdx);
    to.set_rsi(regs.rsi);
    to.set_rdi(regs.rdi);
    to.set_rsp(regs.rsp);
    to.set_rbp(regs.rbp);
    to.set_r8(regs.r8);
    to.set_r9(regs.r9);
    to.set_r10(regs.r10);
    to.set_r11(regs.r11);
    to.set_r12(regs.r12);
    to.set_r13(regs.r13);
    to.set_r14(regs.r14);
    to.set_r15(regs.r15);
    to.set_rip(regs.rip);
    to.set_rflags(regs.rflags);
    return to;
}

kvm_regs decode(const pb::Cpu::Registers& from) {
    kvm_regs regs{};
    regs.rax = from.rax();
    regs.rbx = from.rbx();
    regs.rcx = from.rcx();
    regs.rdx = from.rdx();
    regs.rsi = from.rsi();
    regs.rdi = from.rdi();
    regs.rsp = from.rsp();
    regs.rbp = from.rbp();
    regs.r8 = from.r8();
    regs.r9 = from.r9();
    regs.r10 = from.r10();
    regs.r11 = from.r11();
    regs.r12 = from.r12();
    regs.r13 = from.r13();
    regs.r14 = from.r14();
    regs.r15 = from.r15();
    regs.rip = from.rip();
    regs.rflags = from.rflags();
    return regs;
}

pb::Cpu::Segment encode(const kvm_segment& segment) {
    pb::Cpu::Segment to;
    to.set_base(segment.base);
    to.set_limit(segment.limit);
    to.set_selector(segment.selector);
    to.set_type(segment.type);
    to.set_present(segment.present);
    to.set_dpl(segment.dpl);
    to.set_db(segment.db);
    to.set_s(segment.s);
    to.set_l(segment.l);
    to.set_g(segment.g);
    to.set_avl(segment.avl);
    to.set_unusable(segment.unusable);
    return to;
}

kvm_segment decode(Decoder& in, const pb::Cpu::Segment& from) {
    constexpr const char* kName = "segment register";
    kvm_segment segment{};
    segment.base = from.base();
    segment.limit = from.limit();
    segment.selector = in.number<std::uint16_t>(from.selector(), kName);
    segment.type = in.number<std::uint8_t>(from.type(), kName);
    segment.present = in.number<std::uint8_t>(from.present(), kName);
    segment.dpl = in.number<std::uint8_t>(from.dpl(), kName);
    segment.db = in.number<std::uint8_t>(from.db(), kName);
    segment.s = in.number<std::uint8_t>(from.s(), kName);
    segment.l = in.number<std::uint8_t>(from.l(), kName);
    segment.g = in.number<std::uint8_t>(from.g(), kName);
    segment.avl = in.number<std::uint8_t>(from.avl(), kName);
    segment.unusable = in.number<std::uint8_t>(from.unusable(), kName);
    return segment;
}

pb::Cpu::Table encode(const kvm_dtable& table) {
    pb::Cpu::Table to;
    to.set_base(table.base);
    to.set_limit(table.limit);
    return to;
}

kvm_dtable decode(Decoder& in, const pb::Cpu::Table& from) {
    kvm_dtable table{};
    table.base = from.base();
    table.limit = in.number<std::uint16_t>(from.limit(), "descriptor table");
    return table;
}

pb::Cpu::SpecialRegisters encode(const kvm_sregs& sregs) {
    pb::Cpu::SpecialRegisters to;
    *to.mutable_cs() = encode(sregs.cs);
    *to.mutable_ds() = encode(sregs.ds);
    *to.mutable_es() = encode(sregs.es);
    *to.mutable_fs() = encode(sregs.fs);
    *to.mutable_gs() = encode(sregs.gs);
    *to.mutable_ss() = encode(sregs.ss);
    *to.mutable_tr() = encode(sregs.tr);
    *to.mutable_ldt() = encode(sregs.ldt);
    *to.mutable_gdt() = encode(sregs.gdt);
    *to.mutable_idt() = encode(sregs.idt);
    to.set_cr0(sregs.cr0);
    to.set_cr2(sregs.cr2);
    to.set_cr3(sregs.cr3);
    to.set_cr4(sregs.cr4);
    to.set_cr8(sregs.cr8);
    to.set_efer(sregs.efer);
    to.set_apic_base(sregs.apic_base);
    for (const std::uint64_t word : sregs.interrupt_bitmap)
        to.add_interrupt_bitmap(word);
    return to;
}

kvm_sregs decode(Decoder& in, const pb::Cpu::SpecialRegisters& from) {
    kvm_sregs sregs{};
    sregs.cs = decode(in, from.cs());
    sregs.ds = decode(in, from.ds());
    sregs.es = decode(in, from.es());
    sregs.fs = decode(in, from.fs());
    sregs.gs = decode(in, from.gs());
    sregs.ss = decode(in, from.ss());
    sregs.tr = decode(in, from.tr());
    sregs.ldt = decode(in, from.ldt());
    sregs.gdt = decode(in, from.gdt());
    sregs.idt = decode(in, from.idt());
    sregs.cr0 = from.cr0();
    sregs.cr2 = from.cr2();
    sregs.cr3 = from.cr3();
    sregs.cr4 = from.cr4();
    sregs.cr8 = from.cr8();
    sregs.efer = from.efer();
    sregs.apic_base = from.apic_base();
    const auto bitmap = in.array<std::array<std::uint64_t, std::size(sregs.interrupt_bitmap)>>(
        from.interrupt_bitmap(), "pending interrupt");
    std::ranges::copy(bitmap, std::begin(sregs.interrupt_bitmap));
    return sregs;
}

pb::Cpu::DebugRegisters encode(const kvm_debugregs& debug) {
    pb::Cpu::DebugRegisters to;
    for (const std::uint64_t address : debug.db)
        to.add_db(address);
    to.set_dr6(debug.dr6);
    to.set_dr7(debug.dr7);
    to.set_flags(debug.flags);
    return to;
}

kvm_debugregs decode(Decoder& in, const pb::Cpu::DebugRegisters& from) {
    kvm_debugregs debug{};
    const auto addresses =
        in.array<std::array<std::uint64_t, std::size(debug.db)>>(from.db(), "debug register");
    std::ranges::copy(addresses, std::begin(debug.db));
    debug.dr6 = from.dr6();
    debug.dr7 = from.dr7();
    debug.flags = from.flags();
    return debug;
}

pb::Cpu::Events encode(const kvm_vcpu_events& events) {
    pb::Cpu::Events to;
    auto& exception = *to.mutable_exception();
    exception.set_injected(events.exception.injected);
    exception.set_nr(events.exception.nr);
    exception.set_has_error_code(events.exception.has_error_code);
    exception.set_pending(events.exception.pending);
    exception.set_error_code(events.exception.error_code);
    exception.set_has_payload(events.exception_has_payload);
    exception.set_payload(events.exception_payload);
    auto& interrupt = *to.mutable_interrupt();
    interrupt.set_injected(events.interrupt.injected);
    interrupt.set_nr(events.interrupt.nr);
    interrupt.set_soft(events.interrupt.soft);
    interrupt.set_shadow(events.interrupt.shadow);
    auto& nmi = *to.mutable_nmi();
    nmi.set_injected(events.nmi.injected);
    nmi.set_pending(events.nmi.pending);
    nmi.set_masked(events.nmi.masked);
    auto& smi = *to.mutable_smi();
    smi.set_smm(events.smi.smm);
    smi.set_pending(events.smi.pending);
    smi.set_smm_inside_nmi(events.smi.smm_inside_nmi);
    smi.set_latched_init(events.smi.latched_init);
    to.set_sipi_vector(events.sipi_vector);
    to.set_flags(events.flags);
    to.set_triple_fault_pending(events.triple_fault.pending);
    return to;
}

kvm_vcpu_events decode(Decoder& in, const pb::Cpu::Events& from) {
    const auto byte = [&in](std::uint32_t value) {
        return in.number<std::uint8_t>(value, "pending event");
    };
    kvm_vcpu_events events{};
    events.exception.injected = byte(from.exception().injected());
    events.exception.nr = byte(from.exception().nr());
    events.exception.has_error_code = byte(from.exception().has_error_code());
    events.exception.pending = byte(from.exception().pending());
    events.exception.error_code = from.exception().error_code();
    events.exception_has_payload = byte(from.exception().has_payload());
    events.exception_payload = from.exception().payload();
    events.interrupt.injected = byte(from.interrupt().injected());
    events.interrupt.nr = byte(from.interrupt().nr());
    events.interrupt.soft = byte(from.interrupt().soft());
    events.interrupt.shadow = byte(from.interrupt().shadow());
    events.nmi.injected = byte(from.nmi().injected());
    events.nmi.pending = byte(from.nmi().pending());
    events.nmi.masked = byte(from.nmi().masked());
    events.smi.smm = byte(from.smi().smm());
    events.smi.pending = byte(from.smi().pending());
    events.smi.smm_inside_nmi = byte(from.smi().smm_inside_nmi());
    events.smi.latched_init = byte(from.smi().latched_init());
    events.sipi_vector = from.sipi_vector();
    events.flags = from.flags();
    events.triple_fault.pending = byte(from.triple_fault_pending());
    return events;
}

}  // namespace

pb::Cpu encode(const CpuState& state) {
    pb::Cpu to;
    *to.mutable_registers() = encode(state.regs);
    *to.mutable_special() = encode(state.sregs);
    to.set_xsave(to_string(std::as_bytes(std::span(state.xsave.region))));
    to.set_xcr0(state.xcr0);
    *to.mutable_debug() = encode(state.debug);
    *to.mutable_events() = encode(state.events);
    for (std::size_t i = 0; i < kProcessorMsrs.size(); ++i) {
        auto& msr = *to.add_msrs();
        msr.set_index(kProcessorMsrs.at(i));
        msr.set_value(state.msrs.at(i));
    }
    return to;
}

CpuState decode(Decoder& in, const pb::Cpu& from) {
    in.require(from.has_registers() && from.has_special() && from.has_debug() && from.has_events(),
               "processor");
    CpuState state;
    state.regs = decode(from.registers());
    state.sregs = decode(in, from.special());
    const auto xsave =
        in.bytes<std::array<std::byte, sizeof state.xsave.region>>(from.xsave(), "XSAVE area");
    std::memcpy(state.xsave.region, xsave.data(), xsave.size());
    state.xcr0 = from.xcr0();
    state.debug = decode(in, from.debug());
    state.events = decode(in, from.events());
    const bool has_all = static_cast<std::size_t>(from.msrs_size()) == kProcessorMsrs.size() &&
                         std::ranges::equal(from.msrs(), kProcessorMsrs, {}, &pb::Cpu::Msr::index);
    in.require(has_all, "set of MSRs");
    if (has_all) {
        std::ranges::transform(from.msrs(), state.msrs.begin(), &pb::Cpu::Msr::value);
    }
    return state;
}

}  // namespace ftvmm::machine
