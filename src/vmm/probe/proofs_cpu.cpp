// Proofs of what a guest's kernel and programs need of the processor.
#include <fmt/format.h>

#include "vmm/probe/images.h"
#include "vmm/probe/proofs.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::proofs {

Result<std::string> port_io(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_answer()));
    FTVMM_TRY(guest.expect_in(0xe0, 0x5a));
    FTVMM_TRY(guest.expect_out(0xe1, 0x5a));
    FTVMM_TRY(guest.expect_hlt());
    FTVMM_TRY(guest.expect_out(0xe1, 1));
    return std::string("IN, OUT and HLT leave the guest and come back");
}

Result<std::string> kernel_sse(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_sse()));
    FTVMM_TRY(guest.expect_out(0xe0, 0x33333333));
    return std::string("MOVUPS and PADDD give the right sum");
}

Result<std::string> fpu_switch(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_fxrstor()));
    FTVMM_TRY(guest.expect_out(0xe0, 0x44444444));
    return std::string("XMM0 came back as it was saved");
}

Result<std::string> user_mode(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_user_mode()));
    FTVMM_TRY(guest.expect_out(0xe0, 3));
    FTVMM_TRY(guest.expect_out(0xe1, static_cast<std::uint32_t>(SmallGuest::kUnmapped.value())));
    constexpr std::uint32_t kFromUserReadNotPresent = 4;
    FTVMM_TRY(guest.expect_out(0xe1, kFromUserReadNotPresent));
    return std::string("a system call and a page fault arrived from ring 3");
}

Result<std::string> interrupts(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_window()));
    kvm::Vcpu& vcpu = guest.vcpu();
    FTVMM_TRY(guest.expect_out(0xe0, 1));
    vcpu.request_interrupt_window(true);
    FTVMM_TRY(guest.expect_out(0xe0, 2));
    FTVMM_TRY(guest.expect_window());
    if (!vcpu.ready_for_interrupt_injection() || !vcpu.if_flag()) {
        return fail("the window opened while the guest could not take an interrupt");
    }
    vcpu.request_interrupt_window(false);
    FTVMM_TRY(vcpu.interrupt(0x40));
    FTVMM_TRY(guest.expect_out(0xe0, 3));
    FTVMM_TRY(guest.expect_out(0xe0, 4));
    FTVMM_TRY(guest.expect_hlt());
    return std::string("the window opened after STI, the handler ran and returned");
}

}  // namespace ftvmm::proofs
