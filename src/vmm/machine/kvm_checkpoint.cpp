// KvmMachine's checkpoints.
#include "base/check.h"
#include "vmm/machine/kvm_machine.h"
#include "vmm/machine/memory_slots.h"
#include "vmm/machine/nested_paging.h"

namespace ftvmm::machine {

namespace {

constexpr std::uint64_t kCr4Pge = 1U << 7U;

}  // namespace

Result<void> KvmMachine::track_dirty_pages() {
    FTVMM_CHECK(at_landmark_, "what was written is agreed on at landmarks alone");
    FTVMM_CHECK(!do_disks_reach_memory(), "what disks write by themselves is not tracked");
    if (!dirty_log_) {
        FTVMM_ASSIGN(dirty_log_, KvmDirtyLog::start(vm_.vm, vm_.memory));
    }
    checkpoint_maker_.emplace(*dirty_log_, vm_.memory.bytes(), *checkpoint_costs_);
    return checkpoint_maker_->settle();
}

Result<void> KvmMachine::settle_dirty_pages() {
    FTVMM_CHECK(at_landmark_, "what was written is agreed on at landmarks alone");
    FTVMM_CHECK(checkpoint_maker_.has_value(), "what is settled is tracked");
    return checkpoint_maker_->settle();
}

// What a run that is kicked at once does: interrupts go in, a pending access is completed, and the
// guest stands where it stood. Without the latter KVM would finish the access into the registers
// that are loaded.
Result<void> KvmMachine::leave_landmark() {
    constexpr const char* kNoWay = "no checkpoint leads from here: ";
    if (waiting_) return fail(std::string(kNoWay) + "the guest reads a clock");
    FTVMM_ASSIGN(const auto stop, begin_run());
    if (stop) return fail(std::string(kNoWay) + "the guest waits for an interrupt");
    FTVMM_ASSIGN(const kvm::Exit exit, vm_.vcpu.complete());
    if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) {
        return fail(std::string(kNoWay) + "the guest's instruction has more to ask, " +
                    kvm::describe(exit));
    }
    complete_ = true;
    return {};
}

void KvmMachine::reach_checkpoint() {
    ++checkpoints_;
    at_landmark_ = true;
    is_fresh_ = true;
    complete_ = true;
    platform_.begin_landmark();
}

Result<std::vector<std::byte>> KvmMachine::take_checkpoint() {
    if (!checkpoint_maker_) {
        return fail("this machine takes no checkpoints: what its guest writes is not tracked");
    }
    if (at_landmark_) FTVMM_TRY(leave_landmark());
    PartTimer timer(*checkpoint_costs_);
    FTVMM_ASSIGN(const CpuState cpu, read_cpu_state(vm_.vcpu, config_.cpu_model));
    timer.end(CheckpointCosts::kCpu);
    FTVMM_ASSIGN(auto bytes, checkpoint_maker_->harvest(cpu));
    reach_checkpoint();
    return bytes;
}

Result<void> KvmMachine::load_checkpoint(std::span<const std::byte> state) {
    FTVMM_CHECK(at_landmark_, "a checkpoint is loaded instead of a run");
    FTVMM_CHECK(!dirty_log_, "a machine that tracks what its guest writes loads no checkpoints");
    FTVMM_ASSIGN(const auto checkpoint, decode_checkpoint(state, vm_.memory.size() / kPageBytes));
    FTVMM_TRY(checkpoint_loader_.check(checkpoint));
    FTVMM_TRY(leave_landmark());
    checkpoint_loader_.load(checkpoint);
    FTVMM_TRY(load_cpu(checkpoint.cpu));
    reach_checkpoint();
    return {};
}

// Behind the pages: KVM may read page tables for it.
Result<void> KvmMachine::load_cpu(const CpuState& state) {
    // KVM does not see what the VMM writes to the guest's page tables. What it has shadowed of them
    // goes with the slots, and what the processor holds with a change of CR4.PGE.
    if (!has_nested_paging_) has_nested_paging_ = has_nested_paging();
    if (!*has_nested_paging_) FTVMM_TRY(renew_memory_slots(vm_.vm, vm_.memory));
    kvm_sregs other = state.sregs;
    other.cr4 ^= kCr4Pge;
    FTVMM_TRY(vm_.vcpu.set_sregs(other));
    FTVMM_TRY(write_cpu_state(vm_.vcpu, config_.cpu_model, state));
    // KVM says only as it leaves a run whether the guest can take an interrupt.
    FTVMM_ASSIGN(const kvm::Exit exit, vm_.vcpu.complete());
    if (std::holds_alternative<kvm::exit::Interrupted>(exit)) return {};
    return fail("KVM ran a guest that it was told to leave alone: " + kvm::describe(exit));
}

}  // namespace ftvmm::machine
