#include "vmm/machine/kvm_machine.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <numeric>
#include <utility>

#include "base/check.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/entry_state.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/kvm/capabilities.h"
#include "vmm/machine/cpuid_entries.h"
#include "vmm/machine/exit_dispatch.h"
#include "vmm/machine/memory_slots.h"
#include "vmm/machine/msr_policy.h"

namespace ftvmm::machine {

namespace {

// Three pages that Intel hosts need, below the BIOS in the hole of devices.
constexpr Gpa kTssAddress{0xfffb'd000};

constexpr std::array kNeededCapabilities{
    KVM_CAP_USER_MEMORY,        KVM_CAP_SET_TSS_ADDR,   KVM_CAP_EXT_CPUID,
    KVM_CAP_IMMEDIATE_EXIT,     KVM_CAP_SYNC_REGS,      KVM_CAP_VCPU_EVENTS,
    KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER, KVM_CAP_EXCEPTION_PAYLOAD,
};

Result<KvmMachine::VmParts> create_vm(const kvm::System& system, boot::CpuModel model,
                                      GuestMemory memory) {
    FTVMM_ASSIGN(const auto capabilities, kvm::Capabilities::probe(system));
    FTVMM_TRY(capabilities.require(kNeededCapabilities));
    FTVMM_ASSIGN(auto cpuid, guest_cpuid(system, model));

    FTVMM_ASSIGN(auto vm, system.create_vm());
    constexpr std::array kMsrReasons{std::uint64_t{
        KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER}};
    FTVMM_TRY(vm.enable_cap(KVM_CAP_X86_USER_SPACE_MSR, kMsrReasons));
    FTVMM_TRY(install_msr_filter(vm));
    // Without it KVM tells of a pending exception as of one that was injected before. Another vCPU
    // would then push an RFLAGS without RF, and with CR2 as it was. With shadow paging a signal may
    // end a run in any page fault.
    constexpr std::array kOn{std::uint64_t{1}};
    FTVMM_TRY(vm.enable_cap(KVM_CAP_EXCEPTION_PAYLOAD, kOn));
    FTVMM_TRY(vm.set_tss_addr(kTssAddress));
    FTVMM_TRY(set_memory_slots(vm, memory));
    FTVMM_ASSIGN(auto vcpu, vm.create_vcpu(0));
    FTVMM_TRY(vcpu.set_cpuid2(entries_of(cpuid)));
    vcpu.set_synced(KVM_SYNC_X86_REGS);
    return KvmMachine::VmParts{std::move(memory), std::move(vm), std::move(vcpu), std::move(cpuid)};
}

// Whether an instruction is behind the guest when it exits so, and not still under way.
bool is_between_instructions(const kvm::Exit& exit) {
    return std::holds_alternative<kvm::exit::Interrupted>(exit) ||
           std::holds_alternative<kvm::exit::IrqWindowOpen>(exit) ||
           std::holds_alternative<kvm::exit::Hlt>(exit);
}

constexpr std::byte kSti{0xfb};
constexpr std::byte kHlt{0xf4};

constexpr boot::AcpiPlatform kAcpiPlatform{
    .pm1_event_port = dev::AcpiPm::kEventBlock,
    .pm1_control_port = dev::AcpiPm::kControlBlock,
    .pm_timer_port = dev::AcpiPm::kTimerBlock,
    .reset_port = dev::AcpiPm::kFadtResetPort,
    .reset_value = dev::AcpiPm::kResetValue,
    .sci_irq = kSciLine,
};
// The DSDT is compiled: what it says of the hardware is held against the hardware here.
static_assert(boot::kDsdtPmPorts == dev::AcpiPm::kBase &&
              boot::kDsdtPmPortCount == dev::AcpiPm::kPorts &&
              boot::kDsdtSleepTypeS5 == dev::AcpiPm::kSleepTypeS5);
static_assert(boot::kDsdtSerialPort == kCom1 && boot::kDsdtSerialIrq == kSerialLine);
static_assert(boot::kDsdtPciPortsStart == pci::kPortWindowStart &&
              boot::kDsdtPciMemoryStart == pci::kMemoryWindowStart &&
              boot::kDsdtPciMemoryEnd == pci::kMemoryWindowEnd);

}  // namespace

Result<std::vector<boot::CpuidLeaf>> guest_cpuid(const kvm::System& system, boot::CpuModel model) {
    FTVMM_ASSIGN(const auto supported, system.get_supported_cpuid());
    return boot::make_cpuid(model, leaves_of(supported));
}

std::uint64_t ExitCounts::total() const {
    const std::size_t interrupted = kvm::Exit(kvm::exit::Interrupted{}).index();
    return std::accumulate(by_kind.begin(), by_kind.end(), std::uint64_t{0}) -
           by_kind.at(interrupted);
}

KvmMachine::KvmMachine(VmParts vm, const MachineConfig& config)
    : config_(config),
      vm_(std::move(vm)),
      platform_(config.virtio, vm_.memory),
      checkpoint_loader_(vm_.memory.bytes()) {}

Result<std::unique_ptr<KvmMachine>> KvmMachine::power_on(const kvm::System& system,
                                                         const MachineConfig& config,
                                                         const PowerOn& start) {
    FTVMM_ASSIGN(auto memory, GuestMemory::create(config.memory_bytes));
    FTVMM_ASSIGN(auto parts, create_vm(system, config.cpu_model, std::move(memory)));
    auto machine = std::make_unique<KvmMachine>(std::move(parts), config);
    FTVMM_ASSIGN(machine->tsc_patch_, machine->load(start));
    return machine;
}

Result<boot::TscPatchReport> KvmMachine::load(const PowerOn& start) {
    FTVMM_ASSIGN(auto kernel, boot::read_kernel(start.kernel));
    FTVMM_ASSIGN(auto report, boot::patch_tsc(kernel.bytes(), kernel.elf));
    FTVMM_ASSIGN(const auto loaded, boot::load_kernel(kernel, vm_.memory));
    const std::string command_line = boot::kernel_command_line(start.command_line);
    const boot::BootInputs inputs{start.initrd, command_line, start.rng_seed,
                                  boot::write_acpi_tables(vm_.memory, kAcpiPlatform)};
    FTVMM_TRY(boot::write_boot_params(kernel, loaded, inputs, vm_.memory));
    FTVMM_TRY(write_entry_state(vm_.vcpu, boot::write_entry_state(loaded, vm_.memory)));
    return report;
}

Result<void> KvmMachine::mark_tsc(std::uint16_t mark) {
    constexpr std::uint32_t kTimeStampCounter = 0x10;
    constexpr unsigned kMarkShift = 48;
    kvm_msr_entry entry{};
    entry.index = kTimeStampCounter;
    entry.data = std::uint64_t{mark} << kMarkShift;
    return vm_.vcpu.set_msrs(std::span(&entry, 1));
}

std::string KvmMachine::describe() const {
    const auto ms = [](GuestTime::duration time) {
        return std::chrono::duration<double, std::milli>(time).count();
    };
    const auto deadline = next_deadline();
    return fmt::format(
        "{} at {:#x}, exit {}, guest time {:.3f} ms, interrupts {}{}, next timer {}",
        halted_ ? "halted" : "running", vm_.vcpu.synced_regs().rip, exits_,
        ms(platform_.now().time_since_epoch()), vm_.vcpu.if_flag() ? "on" : "off",
        platform_.is_interrupt_pending() ? ", one pending" : "",
        deadline ? fmt::format("{:+.3f} ms", ms(*deadline - platform_.now())) : "none");
}

Result<KvmMachine::State> KvmMachine::state() const {
    FTVMM_CHECK(complete_ && !waiting_, "a machine is saved between two instructions");
    FTVMM_CHECK(!do_disks_reach_memory(), "disks do not reach the memory that is saved");
    State state;
    state.cpuid = vm_.cpuid;
    FTVMM_ASSIGN(state.cpu, read_cpu_state(vm_.vcpu, config_.cpu_model));
    state.platform = platform_.state();
    state.exits = exits_;
    state.digest = digest_.value();
    state.given_digest = digest_.given();
    state.halted = halted_;
    state.checkpoints = checkpoints_;
    return state;
}

Result<std::unique_ptr<KvmMachine>> KvmMachine::restore(const kvm::System& system,
                                                        const MachineConfig& config,
                                                        const State& state, GuestMemory memory) {
    FTVMM_CHECK(memory.size() == config.memory_bytes, "the memory is the configuration's");
    FTVMM_ASSIGN(auto parts, create_vm(system, config.cpu_model, std::move(memory)));
    if (parts.cpuid != state.cpuid) {
        return fail("the guest would find another processor here than it had",
                    "restore it on a host with the same processor and kernel");
    }
    auto machine = std::make_unique<KvmMachine>(std::move(parts), config);
    FTVMM_TRY(machine->platform_.restore(config.virtio, state.platform));
    FTVMM_TRY(write_cpu_state(machine->vm_.vcpu, config.cpu_model, state.cpu));
    machine->exits_ = state.exits;
    machine->digest_ = ExitDigest(state.digest, state.given_digest);
    machine->halted_ = state.halted;
    machine->checkpoints_ = state.checkpoints;
    // KVM says only as it leaves a run whether the guest can take an interrupt.
    FTVMM_ASSIGN(const kvm::Exit exit, machine->vm_.vcpu.complete());
    if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) {
        return fail("KVM ran a restored guest that it was told to leave alone");
    }
    return machine;
}

void KvmMachine::let_disks_reach_memory(bool on) {
    FTVMM_CHECK(!on || (!only_at_landmarks_ && !dirty_log_),
                "disks reach the memory of a machine that runs for itself alone");
    platform_.move_disk_data_in_place(on);
}

void KvmMachine::interrupt_at_landmarks_only() {
    FTVMM_CHECK(!do_disks_reach_memory(), "disks do not reach the memory of a recorded machine");
    only_at_landmarks_ = true;
}

// KVM knows only behind an instruction: the access that it exited with may end in a fault, or in
// the shadow of STI.
bool KvmMachine::can_interrupt() const {
    return complete_ && vm_.vcpu.ready_for_interrupt_injection() && vm_.vcpu.if_flag();
}

bool KvmMachine::may_wake() const {
    return platform_.is_interrupt_pending() && can_interrupt();
}

Result<void> KvmMachine::inject() {
    if (platform_.take_nmi()) {
        FTVMM_ASSIGN(kvm_vcpu_events events, vm_.vcpu.get_vcpu_events());
        events.nmi.pending = 1;
        events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
        FTVMM_TRY(vm_.vcpu.set_vcpu_events(events));
    }
    if (platform_.is_interrupt_pending() && can_interrupt()) {
        FTVMM_TRY(vm_.vcpu.interrupt(platform_.acknowledge_interrupt()));
    }
    vm_.vcpu.request_interrupt_window(platform_.is_interrupt_pending());
    return {};
}

std::uint64_t KvmMachine::memory_hash() const {
    const auto bytes = vm_.memory.bytes();
    return XXH3_64bits(bytes.data(), bytes.size());
}

// What a run does before the guest goes on, once for each landmark: where a kick has ended a run,
// an interrupt would go in at a place that no other run of the guest finds. A stop: it does not go
// on.
Result<std::optional<replay::Stop>> KvmMachine::begin_run() {
    if (waiting_) return finish_waiting();
    if (!at_landmark_ && only_at_landmarks_) return std::nullopt;
    if (!complete_ && platform_.is_interrupt_pending()) {
        FTVMM_ASSIGN(const kvm::Exit more, vm_.vcpu.complete());
        if (!std::holds_alternative<kvm::exit::Interrupted>(more)) return take(more);
        complete_ = true;
    }
    if (halted_) {
        if (!may_wake()) return replay::stop::Halted{};
        halted_ = false;
    }
    FTVMM_TRY(inject());
    at_landmark_ = false;
    return std::nullopt;
}

Result<replay::Stop> KvmMachine::run() {
    stopped_for_debugger_ = false;
    FTVMM_ASSIGN(const auto stop, begin_run());
    if (stop) return *stop;
    const bool is_debugged = debug_stops_.after_step || !debug_stops_.addresses.empty();
    const bool is_within = !std::exchange(complete_, false);
    FTVMM_ASSIGN(kvm::Exit exit, is_debugged ? run_to_debug_stop(is_within) : vm_.vcpu.run());
    if (only_at_landmarks_ && std::holds_alternative<kvm::exit::IrqWindowOpen>(exit)) {
        FTVMM_ASSIGN(exit, settle_window());
    }
    return take(exit);
}

// Behind STI the window opens one instruction later than interrupts are on. A processor may forget
// that where the host interrupts it in between (QEMU's does), and then the window is reported one
// instruction early, now and then: no landmark. So a window right behind STI is taken for such a
// one, wherever it comes from, and the guest goes one instruction further.
Result<kvm::Exit> KvmMachine::settle_window() {
    // Longer runs of STI are nobody's code.
    constexpr int kMostSteps = 16;
    for (int i = 0; i < kMostSteps; ++i) {
        const std::uint64_t rip = vm_.vcpu.synced_regs().rip;
        if (code_byte(rip - 1) != kSti) break;
        vm_.vcpu.request_interrupt_window(false);
        // Stepped over, HLT would not exit; run, it is the next exit, and the last instruction.
        const bool is_halt = code_byte(rip) == kHlt;
        auto exit = is_halt ? vm_.vcpu.run() : step();
        vm_.vcpu.request_interrupt_window(true);
        if (!exit || !std::holds_alternative<kvm::exit::Debug>(*exit)) return exit;
        // Interrupts are off again: there was no window. Running on is all there is to do.
        if (!vm_.vcpu.if_flag()) return kvm::exit::Interrupted{};
    }
    return kvm::exit::IrqWindowOpen{};
}

// One instruction, at whose end is Debug.
Result<kvm::Exit> KvmMachine::step() {
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    FTVMM_TRY(vm_.vcpu.set_guest_debug(debug));
    auto exit = vm_.vcpu.run();
    FTVMM_TRY(vm_.vcpu.set_guest_debug({}));
    return exit;
}

std::optional<std::byte> KvmMachine::code_byte(std::uint64_t address) const {
    const auto translation = vm_.vcpu.translate(address);
    if (!translation || translation->valid == 0) return std::nullopt;
    const auto byte = vm_.memory.find(Gpa(translation->physical_address), 1);
    return byte.empty() ? std::nullopt : std::optional(byte[0]);
}

Result<replay::Stop> KvmMachine::complete() {
    if (waiting_) return finish_waiting();
    FTVMM_ASSIGN(const kvm::Exit exit, vm_.vcpu.complete());
    if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) return take(exit);
    complete_ = true;  // And a landmark if it was one: the guest has not run.
    return replay::stop::Kicked{};
}

replay::Stop KvmMachine::take(const kvm::Exit& exit) {
    complete_ = is_between_instructions(exit);
    ++counts_->by_kind.at(exit.index());
    if (std::holds_alternative<kvm::exit::Interrupted>(exit)) return replay::stop::Kicked{};
    at_landmark_ = true;
    is_fresh_ = true;
    ++exits_;
    digest_.add(exit, vm_.vcpu.synced_regs());
    platform_.begin_landmark();
    if (needs_time(exit)) {
        waiting_ = exit;
        return replay::stop::NeedsTime{};
    }
    return finish(exit);
}

replay::Stop KvmMachine::finish_waiting() {
    // A landmark of its own: what is applied behind the access came too late for it, and a replay
    // has to know.
    ++exits_;
    return finish(*std::exchange(waiting_, std::nullopt));
}

replay::Stop KvmMachine::finish(const kvm::Exit& exit) {
    using namespace kvm::exit;
    if (std::holds_alternative<Hlt>(exit)) {
        halted_ = true;
        // An interrupt that came too late for a window wakes it at once.
        if (may_wake()) return replay::stop::Exit{};
        return replay::stop::Halted{};
    }
    if (std::holds_alternative<Shutdown>(exit)) return replay::stop::Reset{.triple_fault = true};
    const bool is_failure =
        std::holds_alternative<FailEntry>(exit) || std::holds_alternative<InternalError>(exit) ||
        std::holds_alternative<Unexpected>(exit) || std::holds_alternative<Debug>(exit);
    if (is_failure) {
        return replay::stop::Crashed{fmt::format("the guest's processor stopped at {:#x}: {}",
                                                 vm_.vcpu.synced_regs().rip, kvm::describe(exit))};
    }
    dispatch(exit, platform_);
    digest_.add_answer(exit);
    const auto events = platform_.take_events();
    if (events.power_off) return replay::stop::PoweredOff{};
    if (events.reset) return replay::stop::Reset{};
    return replay::stop::Exit{};
}

}  // namespace ftvmm::machine
