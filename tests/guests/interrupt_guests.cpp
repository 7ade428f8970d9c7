#include <fmt/format.h>

#include "guest_test.h"
#include "images.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

namespace {

constexpr std::uint64_t kRflagsIf = 1 << 9;

}  // namespace

Result<void> test_hlt(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::hlt()));
    FTVMM_TRY(guest.expect_hlt());
    FTVMM_TRY(guest.expect_out(0xe0, 0x2a));
    return guest.expect_hlt();
}

namespace {

// The window may come while the guest still stands right behind STI (byte 0xfb), where the
// processor would not have taken an interrupt yet: emulated SVM forgets the STI shadow over an
// entry. One step brings it to the point that real hardware stops at.
constexpr std::byte kSti{0xfb};

Result<void> step_out_of_sti_shadow(SmallGuest& guest) {
    FTVMM_ASSIGN(const kvm_regs regs, guest.vcpu().get_regs());
    const auto before = guest.memory().find(Gpa(regs.rip - 1), 1);
    if (before.empty() || before[0] != kSti) return {};
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    FTVMM_TRY(guest.vcpu().set_guest_debug(debug));
    FTVMM_TRY(guest.expect_debug());
    return guest.vcpu().set_guest_debug(kvm_guest_debug{});
}

Result<void> expect_window_behind_sti(SmallGuest& guest) {
    kvm::Vcpu& vcpu = guest.vcpu();
    FTVMM_TRY(guest.expect_out(0xe0, 1));
    if (vcpu.if_flag()) return fail("RFLAGS.IF is set before STI");
    vcpu.request_interrupt_window(true);
    FTVMM_TRY(guest.expect_out(0xe0, 2));
    FTVMM_TRY(guest.expect_window());
    if (!vcpu.ready_for_interrupt_injection() || !vcpu.if_flag()) {
        return fail("the window is open, and the guest cannot take an interrupt");
    }
    vcpu.request_interrupt_window(false);
    FTVMM_TRY(step_out_of_sti_shadow(guest));
    FTVMM_ASSIGN(const kvm_regs regs, vcpu.get_regs());
    if (regs.rbx != 1) {
        return fail(fmt::format("the window opened with RBX {}, not behind one INC", regs.rbx));
    }
    FTVMM_TRY(guest.expect_out(0xe0, 3));
    return guest.expect_hlt();
}

Result<void> expect_no_window_unasked(SmallGuest& guest) {
    FTVMM_TRY(guest.expect_out(0xe0, 1));
    FTVMM_TRY(guest.expect_out(0xe0, 2));
    FTVMM_TRY(guest.expect_out(0xe0, 3));
    FTVMM_TRY(guest.expect_hlt());
    FTVMM_ASSIGN(const kvm_regs regs, guest.vcpu().get_regs());
    if ((regs.rflags & kRflagsIf) == 0) return fail("RFLAGS.IF is clear after STI");
    return {};
}

}  // namespace

Result<void> test_interrupt_window(const kvm::System& system) {
    {
        FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::interrupt_window()));
        FTVMM_TRY(expect_window_behind_sti(guest));
    }
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::interrupt_window()));
    return expect_no_window_unasked(guest);
}

namespace {

Result<void> inject_at_hlt(SmallGuest& guest, std::uint8_t vector) {
    FTVMM_TRY(guest.expect_hlt());
    if (!guest.vcpu().ready_for_interrupt_injection() || !guest.vcpu().if_flag()) {
        return fail(fmt::format("the guest cannot take vector {:#x} in HLT", vector));
    }
    FTVMM_TRY(guest.vcpu().interrupt(vector));
    return guest.expect_out(0xe1, vector);
}

}  // namespace

Result<void> test_idt_iret(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::idt_iret()));
    FTVMM_TRY(guest.expect_out(0xe0, 0x10));
    FTVMM_TRY(inject_at_hlt(guest, 0x30));
    FTVMM_TRY(inject_at_hlt(guest, 0x31));
    FTVMM_TRY(inject_at_hlt(guest, 0xff));
    FTVMM_TRY(guest.expect_out(0xe2, 0x1234));
    FTVMM_TRY(guest.expect_out(0xe2, 0));
    FTVMM_TRY(guest.expect_out(0xe2, 1));
    return guest.expect_hlt();
}

}  // namespace ftvmm::guests
