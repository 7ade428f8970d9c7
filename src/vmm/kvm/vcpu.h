// A vCPU file descriptor: run it, read and write its state.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/kvm/exit.h"
#include "vmm/kvm/kvm_api.h"

namespace ftvmm::kvm {

// What KVM_GET_MSRS and KVM_SET_MSRS, here `call`, make of `done`, the number of MSRs they got
// through: an error that names the one they stopped at, unless they did all of `indices`.
Result<void> check_msrs_done(const char* call, int done, std::span<const std::uint32_t> indices);

// Methods carry their ioctl's name; their errors do too. vcpu.cpp is the only file that touches
// struct kvm_run. All calls come from the one thread that runs the vCPU, and a signal
// handler may interrupt it with kick().
class Vcpu {
  public:
    // Use Vm::create_vcpu. `run` is the mapped kvm_run page with what follows it.
    Vcpu(Fd fd, Mapping run) : fd_(std::move(fd)), run_mapping_(std::move(run)) {}

    // KVM_RUN until the guest exits, a signal arrives or immediate_exit is set; the
    // two last give Interrupted. Whatever the last exit asked for must have been answered.
    [[nodiscard]] Result<Exit> run();

    // Lets KVM finish what the last exit asked for without going on to the next instruction.
    // Registers and memory are only exact after it. Interrupted: nothing is pending any more; a
    // repeated string instruction may then still stand on itself, with RCX counted down. Any other
    // exit: the same instruction has more to ask (an access in two pieces), or, while
    // single-stepping, Debug because it has just ended; answer, and call again.
    [[nodiscard]] Result<Exit> complete();

    // Makes the run() under way and every later one return Interrupted at once, after completing a
    // pending exit, until clear_kick(). From a signal handler of the vCPU's own thread; the signal
    // is what ends a run() under way.
    void kick();
    void clear_kick();
    // With true, run() returns IrqWindowOpen as soon as the guest can take an interrupt.
    void request_interrupt_window(bool on);
    // As of the last exit: KVM can take an interrupt, and RFLAGS.IF.
    [[nodiscard]] bool ready_for_interrupt_injection() const;
    [[nodiscard]] bool if_flag() const;

    // KVM_INTERRUPT. Without an in-kernel irqchip KVM checks nothing: it delivers
    // `vector` at the next entry even with IF clear. Inject only when
    // ready_for_interrupt_injection() and if_flag() are both true behind complete(): KVM does not
    // know before whether the last exit is answered by a fault, which it then delivers, and forgets
    // the interrupt.
    [[nodiscard]] Result<void> interrupt(std::uint8_t vector) const;

    // KVM_CAP_SYNC_REGS: with `mask` of KVM_SYNC_X86_*, each exit
    // brings those registers along and spares an ioctl.
    void set_synced(std::uint64_t mask);
    [[nodiscard]] const kvm_regs& synced_regs() const;
    [[nodiscard]] const kvm_sregs& synced_sregs() const;

    [[nodiscard]] Result<kvm_regs> get_regs() const;
    [[nodiscard]] Result<void> set_regs(const kvm_regs& regs) const;
    [[nodiscard]] Result<kvm_sregs> get_sregs() const;
    // CR8 goes into kvm_run too: without an in-kernel irqchip KVM takes it from there at each run.
    [[nodiscard]] Result<void> set_sregs(const kvm_sregs& sregs) const;
    [[nodiscard]] Result<kvm_fpu> get_fpu() const;
    [[nodiscard]] Result<void> set_fpu(const kvm_fpu& fpu) const;
    [[nodiscard]] Result<kvm_vcpu_events> get_vcpu_events() const;
    [[nodiscard]] Result<void> set_vcpu_events(const kvm_vcpu_events& events) const;
    // KVM_GET_MSRS and KVM_SET_MSRS, up to 255 at a time, in the order given; no filter is asked.
    // They stop at the first that KVM does not know or whose value it refuses: an error that names
    // it, and then those before it are set.
    [[nodiscard]] Result<std::vector<kvm_msr_entry>> get_msrs(
        std::span<const std::uint32_t> indices) const;
    [[nodiscard]] Result<void> set_msrs(std::span<const kvm_msr_entry> entries) const;
    [[nodiscard]] Result<kvm_debugregs> get_debugregs() const;
    [[nodiscard]] Result<void> set_debugregs(const kvm_debugregs& registers) const;
    // The FPU with all that XCR0 can enable, but AMX, which needs more than 4096 bytes and a
    // permission nobody asks for here. A guest without XSAVE has it all in get_fpu().
    [[nodiscard]] Result<kvm_xsave> get_xsave() const;
    [[nodiscard]] Result<void> set_xsave(const kvm_xsave& xsave) const;
    // No registers where the host has no XSAVE, and then they cannot be set.
    [[nodiscard]] Result<kvm_xcrs> get_xcrs() const;
    [[nodiscard]] Result<void> set_xcrs(const kvm_xcrs& xcrs) const;
    [[nodiscard]] Result<void> set_cpuid2(std::span<const kvm_cpuid_entry2> entries) const;
    // KVM_TRANSLATE: where a linear address of the guest's lies, by its page tables as they are.
    [[nodiscard]] Result<kvm_translation> translate(std::uint64_t linear_address) const;
    [[nodiscard]] Result<void> set_guest_debug(const kvm_guest_debug& debug) const;
    // KVM_SET_TSC_KHZ.
    [[nodiscard]] Result<void> set_tsc_khz(std::uint32_t khz) const;

    // The vCPU's dirty ring: `bytes` of it as enabled on the VM.
    [[nodiscard]] Result<Mapping> map_dirty_ring(std::size_t bytes) const;

  private:
    [[nodiscard]] kvm_run& kvm_run_page() const;
    [[nodiscard]] Exit decode() const;

    void set_immediate_exit(bool on);

    Fd fd_;
    Mapping run_mapping_;
    // Outlives a move of the Vcpu, as a handler may hold on to it no longer than the Vcpu lives.
    std::unique_ptr<std::atomic<bool>> kicked_ = std::make_unique<std::atomic<bool>>(false);
};

}  // namespace ftvmm::kvm
