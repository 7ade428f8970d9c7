// Proofs of what it takes to stop a guest at an exact point.
#include <fmt/format.h>

#include <cstring>

#include "vmm/probe/images.h"
#include "vmm/probe/proofs.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::proofs {

Result<std::string> immediate_exit(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_answer()));
    FTVMM_TRY(guest.expect_in(0xe0, 0xa5));
    FTVMM_ASSIGN(const kvm_regs before, guest.vcpu().get_regs());
    FTVMM_ASSIGN(const kvm::Exit exit, guest.vcpu().complete());
    if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) {
        return Failure(guest.unexpected("to stop behind the IN", exit));
    }
    FTVMM_ASSIGN(const kvm_regs after, guest.vcpu().get_regs());
    if ((after.rax & 0xff) != 0xa5) return fail("the pending IN was not completed");
    constexpr std::uint64_t kInBytes = 2;
    if (after.rip != SmallGuest::kImage.value() + kInBytes) {
        return fail(fmt::format("the guest ran on to {:#x}", after.rip));
    }
    return fmt::format("an IN was completed and nothing more (RIP {:#x} then {:#x})", before.rip,
                       after.rip);
}

Result<std::string> sync_regs(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_window()));
    guest.vcpu().set_synced(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
    FTVMM_TRY(guest.expect_out(0xe0, 1));
    FTVMM_TRY(guest.expect_out(0xe0, 2));
    FTVMM_ASSIGN(const kvm_regs regs, guest.vcpu().get_regs());
    FTVMM_ASSIGN(const kvm_sregs sregs, guest.vcpu().get_sregs());
    const kvm_regs& synced = guest.vcpu().synced_regs();
    const kvm_sregs& synced_sregs = guest.vcpu().synced_sregs();
    if (std::memcmp(&regs, &synced, sizeof regs) != 0 || synced_sregs.cr3 != sregs.cr3 ||
        synced_sregs.idt.base != sregs.idt.base) {
        return fail("the registers that came with the exit are not those of KVM_GET_REGS");
    }
    return std::string("the registers that come with an exit are the guest's");
}

namespace {

// The two addresses that probe_step prints.
struct StepAddresses {
    std::uint64_t marked = 0;
    std::uint64_t word = 0;
};

Result<StepAddresses> start_step_guest(SmallGuest& guest) {
    StepAddresses addresses;
    FTVMM_ASSIGN(addresses.marked, guest.expect_out(0xe0));
    FTVMM_ASSIGN(addresses.word, guest.expect_out(0xe1));
    return addresses;
}

// Where the guest stops when debugged so; `what` names the stop in an error.
Result<std::uint64_t> run_to_debug(SmallGuest& guest, const kvm_guest_debug& debug,
                                   const char* what) {
    FTVMM_TRY(guest.vcpu().set_guest_debug(debug));
    return guest.expect_debug().map_error(
        [&](const Error& error) { return error.with_context(what); });
}

Result<void> expect_pc(std::uint64_t wanted, std::uint64_t got, const char* what) {
    if (wanted == got) return {};
    return fail(fmt::format("{} stopped at {:#x}, not at {:#x}", what, got, wanted));
}

}  // namespace

Result<std::string> single_step(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_step()));
    FTVMM_ASSIGN(const StepAddresses at, start_step_guest(guest));
    // Stands behind the second OUT: NOP (1 byte) and MOV (5) lie before `marked`.
    FTVMM_ASSIGN(const kvm::Exit completed, guest.vcpu().complete());
    if (!std::holds_alternative<kvm::exit::Interrupted>(completed)) {
        return Failure(guest.unexpected("to stop behind the OUT", completed));
    }
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    FTVMM_ASSIGN(const std::uint64_t first, run_to_debug(guest, debug, "the first step"));
    FTVMM_TRY(expect_pc(at.marked - 5, first, "the first step"));
    FTVMM_ASSIGN(const std::uint64_t second, guest.expect_debug());
    FTVMM_TRY(expect_pc(at.marked, second, "the second step"));
    FTVMM_TRY(guest.vcpu().set_guest_debug(kvm_guest_debug{}));
    FTVMM_TRY(guest.expect_out(0xe2, 11));
    return std::string("each step ran one instruction");
}

Result<std::string> hardware_breakpoints(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_step()));
    FTVMM_ASSIGN(const StepAddresses at, start_step_guest(guest));
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    // DR7 (AMD64 APM vol. 2, 13.1): L0 with R/W0 = 0, LEN0 = 0 is an instruction breakpoint.
    constexpr std::uint64_t kDr7Execute0 = 0x401;
    debug.arch.debugreg[0] = at.marked;
    debug.arch.debugreg[7] = kDr7Execute0;
    FTVMM_ASSIGN(const std::uint64_t stop, run_to_debug(guest, debug, "the breakpoint"));
    FTVMM_TRY(expect_pc(at.marked, stop, "the breakpoint"));
    // L1 with R/W1 = 1, LEN1 = 2 watches writes to 8 bytes; it stops behind the write.
    constexpr std::uint64_t kDr7Write1 = 0x900404;
    debug.arch.debugreg[0] = 0;
    debug.arch.debugreg[1] = at.word;
    debug.arch.debugreg[7] = kDr7Write1;
    FTVMM_TRY(run_to_debug(guest, debug, "the watchpoint"));
    FTVMM_ASSIGN(const kvm_regs regs, guest.vcpu().get_regs());
    // ADD (3 bytes) and MOV to memory (6) lie between `marked` and the stop.
    FTVMM_TRY(expect_pc(at.marked + 9, regs.rip, "the watchpoint"));
    FTVMM_TRY(guest.vcpu().set_guest_debug(kvm_guest_debug{}));
    FTVMM_TRY(guest.expect_out(0xe2, 11));
    return std::string("DR0 stopped at its instruction, DR1 behind its write");
}

}  // namespace ftvmm::proofs
