// The guest's machine on this host's KVM.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "replay/guest_machine.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/cpu_model.h"
#include "vmm/boot/tsc_patch.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/checkpoint_pages.h"
#include "vmm/machine/cpu_state.h"
#include "vmm/machine/dirty_log.h"
#include "vmm/machine/exit_digest.h"
#include "vmm/machine/page_set.h"
#include "vmm/machine/platform.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

// What the machine is made of; the same for its whole life and on both sides of a pair.
struct MachineConfig {
    std::uint64_t memory_bytes = 0;
    boot::CpuModel cpu_model = boot::CpuModel::kV2;
    VirtioConfig virtio;
};

// What CPUID tells a guest of `model` on this host; make_cpuid()'s errors.
[[nodiscard]] Result<std::vector<boot::CpuidLeaf>> guest_cpuid(const kvm::System& system,
                                                               boot::CpuModel model);

// What it starts with. The files' bytes are read during power_on() alone.
struct PowerOn {
    std::span<const std::byte> kernel;
    std::span<const std::byte> initrd;
    std::string_view command_line;  // The user's part.
    std::array<std::byte, boot::kRngSeedBytes> rng_seed{};
};

// How often the guest has exited, by kvm::Exit's alternatives, and how often a run was interrupted.
struct ExitCounts {
    std::array<std::uint64_t, std::variant_size_v<kvm::Exit>> by_kind{};

    // Without the interrupted runs, in which the guest did not exit by itself.
    [[nodiscard]] std::uint64_t total() const;
};

class DebugTraps;

// Owned by the thread that runs the vCPU, and for that thread alone. An exit's way through here:
//
//   Vcpu::run() -> landmark, digest -> Platform::begin_landmark() -> dispatch() -> stop
//                                            \-> NeedsTime, and dispatch() in the next run()
class KvmMachine final : public replay::GuestMachine {
  public:
    // A machine with `start`'s kernel at its entry. Errors: a host that lacks a capability or a
    // processor feature, a kernel that cannot be used, files that do not fit into memory.
    static Result<std::unique_ptr<KvmMachine>> power_on(const kvm::System& system,
                                                        const MachineConfig& config,
                                                        const PowerOn& start);

    // All of the machine but its memory.
    struct State {
        std::vector<boot::CpuidLeaf> cpuid;  // As the guest sees it.
        CpuState cpu;
        Platform::State platform;
        std::uint64_t exits = 0;
        std::uint64_t digest = 0;
        std::uint64_t given_digest = 0;  // ExitDigest::given().
        bool halted = false;
        std::uint64_t checkpoints = 0;
    };
    // A machine that goes on where `state` and `memory` were taken: same landmark, same digest,
    // same guest time. What was in flight comes out of take_outputs() again, before anything else.
    // Exit counts start anew. Errors: a host on which the guest would find another processor, a
    // state that no machine of this configuration can be in.
    static Result<std::unique_ptr<KvmMachine>> restore(const kvm::System& system,
                                                       const MachineConfig& config,
                                                       const State& state, GuestMemory memory);

    // From here on, interrupts reach the guest at landmarks alone, not where a kick has ended a
    // run: for a run that is recorded or replayed.
    // Disks do not reach its memory.
    void interrupt_at_landmarks_only();

    // From here on, or until told otherwise, disks read and write the guest's memory by themselves,
    // while it runs: it costs no copies, but what the guest does is no function of its inputs. For
    // a run that nobody records or follows; requires that nothing is tracked.
    void let_disks_reach_memory(bool on);
    // Whether they may, or still do after it was switched off, until their requests have ended.
    // Nobody may record, follow, copy or save the machine before.
    [[nodiscard]] bool do_disks_reach_memory() const {
        return platform_.is_disk_data_moving_in_place();
    }

    // From here on the upper 16 bits of the guest's time stamp counter are `mark`, for a day or so:
    // what programs keep of it can be told from all else in memory. Before the first run.
    [[nodiscard]] Result<void> mark_tsc(std::uint16_t mark);

    // As run(), but no further than the end of the instruction that the guest stands in; Kicked
    // means that it stands between two. An instruction that has more to ask gives Exit or
    // NeedsTime, which are landmarks as always: go on until Kicked. A guest that went on after a
    // save may take an interrupt earlier for it, at an end where it would have run on to a window:
    // whoever repeats the run completes at the same landmark.
    [[nodiscard]] Result<replay::Stop> complete();
    // Requires that complete() gave Kicked, that nothing ran since, that all outputs were taken,
    // and that disks do not reach the memory. So no access waits for the time: a state need not
    // hold one.
    [[nodiscard]] Result<State> state() const;
    [[nodiscard]] const GuestMemory& memory() const { return vm_.memory; }
    [[nodiscard]] const MachineConfig& config() const { return config_; }
    // Guest time as of the last input::Time.
    [[nodiscard]] GuestTime now() const { return platform_.now(); }

    [[nodiscard]] Result<replay::Stop> run() override;
    [[nodiscard]] replay::Landmark landmark() const override {
        return {.exits = exits_, .checkpoints = checkpoints_};
    }
    void apply(const replay::Input& input) override {
        digest_.add_input(input);
        platform_.apply(input);
    }
    [[nodiscard]] std::vector<replay::Output> take_outputs() override {
        return platform_.take_outputs();
    }
    [[nodiscard]] std::uint64_t digest() const override { return digest_.value(); }
    [[nodiscard]] std::uint64_t memory_hash() const override;

    // Has checkpoints possible from here on; at a landmark. The first is for any machine that has
    // the same memory at this landmark. Again: for a follower that has not loaded those so far.
    // Costs the guest a fault for each page that it writes, and again after each checkpoint and
    // settle. Not of a machine that loads checkpoints later. An error: KVM can not do it.
    [[nodiscard]] Result<void> track_dirty_pages();
    // At a landmark that every follower comes to by its own replay, or has come to: what was
    // written up to here need not go over, so the next checkpoint is smaller for it. As often as
    // that is worth a look at KVM's log and those faults. Requires track_dirty_pages().
    [[nodiscard]] Result<void> settle_dirty_pages();
    // Not where an access waits for the time or a halted guest for an interrupt, nor between two
    // accesses of one instruction; behind a run that a kick ended it stands at none of these. An
    // error leaves a machine that can not go on, with one exception: where the guest has written to
    // more memory than a checkpoint takes, nothing has changed.
    [[nodiscard]] Result<std::vector<std::byte>> take_checkpoint() override;
    // Nothing has changed where the bytes themselves are no checkpoint, or not the next; after any
    // other error the machine can not go on.
    [[nodiscard]] Result<void> load_checkpoint(std::span<const std::byte> state) override;

    // A copy of this machine is made while it runs plainly: begin_copy(), then its pages, and again
    // those that take_written_pages() tells of; at last, behind complete(), the rest of them and
    // state(). Who restores that has a machine that stands where this one does, and both call
    // that place a landmark from lead_from_here() on. What was taken of them must have been read
    // after the call that told of them. Tracking costs the guest a fault for each page it writes.
    [[nodiscard]] Result<void> begin_copy();
    // The pages written since the last call, or since begin_copy(): by the guest, or for it.
    [[nodiscard]] Result<PageSet> take_written_pages();
    // From here on this machine is recorded, for a follower that stands where it stands. Requires
    // what state() does.
    [[nodiscard]] Result<void> lead_from_here();
    // Nobody copies or follows it any more: it runs plainly again, and nothing is tracked.
    [[nodiscard]] Result<void> run_alone();

    [[nodiscard]] std::optional<GuestTime> next_deadline() const override {
        return platform_.next_deadline();
    }
    [[nodiscard]] bool shows_time() const override { return platform_.shows_time(); }
    [[nodiscard]] bool wants_packets(std::uint32_t nic) const override {
        return platform_.wants_packets(nic);
    }
    [[nodiscard]] bool wants_console_bytes(replay::ConsolePort port) const override {
        return platform_.wants_console_bytes(port);
    }
    [[nodiscard]] std::optional<replay::CpuRegisters> registers() const override;
    [[nodiscard]] std::vector<std::string> code() const override;
    [[nodiscard]] std::optional<replay::ExitFacts> last_exit() const override;

    // For a debugger of a replay: where run() stops besides, with Kicked and no landmark, between
    // two instructions. Until it is told otherwise.
    struct DebugStops {
        // Before the instruction at one of these linear addresses, as they are mapped as the run
        // begins. Nothing that ring 3 can reach.
        std::vector<std::uint64_t> addresses;
        // Behind the instruction that the guest stands at or in, or before the first one of the
        // handler that it, or an interrupt, leads to. At a landmark between two instructions the
        // one before it has just ended: the guest stops there first. What is done in ring 3, up to
        // where it is left, is part of the instruction that led there.
        bool after_step = false;
    };
    void stop_for_debugger(DebugStops stops);
    // Whether that is why the last run() came back.
    [[nodiscard]] bool stopped_for_debugger() const { return stopped_for_debugger_; }
    // In the middle of an instruction some may already be what it makes of them.
    struct DebugRegisters {
        kvm_regs regs{};
        kvm_sregs sregs{};
        kvm_xsave xsave{};
    };
    [[nodiscard]] Result<DebugRegisters> debug_registers() const;
    [[nodiscard]] Result<std::uint64_t> instruction_pointer() const;
    // Where a linear address leads now, if anywhere, and what lies from there on, as far as it is
    // RAM.
    [[nodiscard]] std::optional<Gpa> find_linear(std::uint64_t address) const;
    [[nodiscard]] std::size_t read_linear_memory(std::uint64_t address,
                                                 std::span<std::byte> bytes) const;

    void kick() override { vm_.vcpu.kick(); }
    void clear_kick() override { vm_.vcpu.clear_kick(); }

    [[nodiscard]] const ExitCounts& exit_counts() const { return *counts_; }
    // Goes on counting in `counts`, which outlives the machine.
    void count_into(ExitCounts& counts) { counts_ = &counts; }
    // The costs of its checkpoints go into `costs`, which outlives the machine; before
    // track_dirty_pages().
    void cost_into(CheckpointCosts& costs) { checkpoint_costs_ = &costs; }
    // Where the guest stands, in one line for people.
    [[nodiscard]] std::string describe() const;
    // How the kernel's code was changed; nothing in a restored machine.
    [[nodiscard]] const std::optional<boot::TscPatchReport>& tsc_patch() const {
        return tsc_patch_;
    }

    // The parts of KVM that one VM holds, in the order in which they are made.
    struct VmParts {
        GuestMemory memory;
        kvm::Vm vm;
        kvm::Vcpu vcpu;
        std::vector<boot::CpuidLeaf> cpuid;
    };
    // Use power_on() or restore().
    KvmMachine(VmParts vm, const MachineConfig& config);

  private:
    [[nodiscard]] Result<boot::TscPatchReport> load(const PowerOn& start);
    [[nodiscard]] bool can_interrupt() const;
    [[nodiscard]] bool may_wake() const;
    [[nodiscard]] Result<void> inject();
    [[nodiscard]] Result<kvm::Exit> settle_window();
    [[nodiscard]] Result<kvm::Exit> step();
    [[nodiscard]] std::optional<std::byte> code_byte(std::uint64_t address) const;
    [[nodiscard]] Result<std::optional<replay::Stop>> begin_run();
    // How a run with traps in the guest's memory ended: by an exit, or by one of them.
    struct Trapped {
        std::optional<kvm::Exit> exit;
        bool is_hit = false;  // The trap is of this address, and not of another of the same place.
        std::uint64_t rip = 0;
    };
    [[nodiscard]] bool is_debug_stop(std::uint64_t rip) const;
    [[nodiscard]] Result<kvm::Exit> run_to_debug_stop(bool is_within);
    [[nodiscard]] kvm::Exit stop_here(std::uint64_t rip);
    [[nodiscard]] Result<bool> has_event_to_deliver() const;
    [[nodiscard]] Result<Trapped> run_to_address();
    [[nodiscard]] Result<Trapped> run_one_instruction();
    [[nodiscard]] Result<Trapped> end_of_run(const kvm::Exit& exit, const DebugTraps& traps);
    [[nodiscard]] Result<void> leave_landmark();
    [[nodiscard]] Result<void> load_cpu(const CpuState& state);
    void reach_checkpoint();
    [[nodiscard]] replay::Stop take(const kvm::Exit& exit);
    [[nodiscard]] replay::Stop finish_waiting();
    [[nodiscard]] replay::Stop finish(const kvm::Exit& exit);

    MachineConfig config_;
    VmParts vm_;
    Platform platform_;
    ExitDigest digest_;
    std::uint64_t exits_ = 0;
    bool halted_ = false;
    bool only_at_landmarks_ = false;
    bool at_landmark_ = true;  // No run has begun since.
    std::uint64_t checkpoints_ = 0;
    // Where checkpoints are taken.
    std::unique_ptr<KvmDirtyLog> dirty_log_;
    std::optional<CheckpointMaker> checkpoint_maker_;
    CheckpointCosts own_costs_;
    CheckpointCosts* checkpoint_costs_ = &own_costs_;
    // Where they are loaded.
    CheckpointLoader checkpoint_loader_;
    std::optional<bool> has_nested_paging_;
    bool complete_ = true;              // The guest stands between two instructions.
    std::optional<kvm::Exit> waiting_;  // An access that waits for the time.
    DebugStops debug_stops_;
    bool stopped_for_debugger_ = false;
    bool is_fresh_ = true;                     // No stop for a debugger since the landmark.
    std::optional<std::uint64_t> stopped_at_;  // Where the last one was, if the guest stands there.
    ExitCounts own_counts_;
    ExitCounts* counts_ = &own_counts_;
    std::optional<boot::TscPatchReport> tsc_patch_;
};

}  // namespace ftvmm::machine
