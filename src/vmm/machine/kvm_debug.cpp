// KvmMachine under a debugger.
//
// Breakpoints and steps are HLT instructions that lie in the guest's memory while it runs, and at
// no other time: neither an exit nor a device ever meets one. HLT always exits, behind itself. A
// step has one at each place where the guest may stand next. The processor's trap flag would be
// less work, and is no way: it is pushed onto the guest's stack with each exception, and handlers
// run unseen. INT3 does not exit where SVM is emulated by QEMU, nor do its debug registers stop a
// guest.
//
// In ring 3 HLT faults, so none is laid in what ring 3 can reach: a program runs on to where it
// enters the kernel.
#include <fmt/format.h>

#include <algorithm>

#include "vmm/machine/kvm_machine.h"
#include "vmm/machine/next_addresses.h"
#include "vmm/machine/page_walk.h"

namespace ftvmm::machine {

namespace {

constexpr std::byte kHlt{0xf4};

// Whether the guest goes to a handler before it does anything else.
bool has_event(const kvm_vcpu_events& events) {
    return events.interrupt.injected != 0 || events.exception.injected != 0 ||
           events.exception.pending != 0 || events.nmi.injected != 0 || events.nmi.pending != 0;
}

}  // namespace

// HLTs in the guest's memory, for as long as this lives.
class DebugTraps {
  public:
    DebugTraps(const GuestMemory& memory, const kvm_sregs& sregs)
        : memory_(memory), sregs_(sregs) {}
    DebugTraps(const DebugTraps&) = delete;
    DebugTraps& operator=(const DebugTraps&) = delete;
    ~DebugTraps() {
        for (const Trap& trap : traps_) {
            // What the guest has written there meanwhile stays.
            if (*trap.place == kHlt) *trap.place = trap.was;
        }
    }

    // None where nothing is mapped, or ring 3 can reach it.
    void lay(std::uint64_t address) {
        const auto place = find(address);
        if (place == nullptr) return;
        addresses_.push_back(address);
        if (!lies_at(place)) traps_.push_back({place, std::exchange(*place, kHlt)});
    }
    [[nodiscard]] bool has(std::uint64_t address) const {
        return std::ranges::find(addresses_, address) != addresses_.end();
    }
    // Whether the byte at `address` is covered, by whatever address.
    [[nodiscard]] bool covers(std::uint64_t address) const {
        const auto place = find(address);
        return place != nullptr && lies_at(place);
    }

  private:
    struct Trap {
        std::byte* place;
        std::byte was;
    };

    [[nodiscard]] std::byte* find(std::uint64_t address) const {
        const auto page = walk_pages(memory_, sregs_, address);
        if (!page || page->is_for_users) return nullptr;
        const auto bytes = memory_.find(page->address, 1);
        return bytes.empty() ? nullptr : bytes.data();
    }
    [[nodiscard]] bool lies_at(const std::byte* place) const {
        return std::ranges::find(traps_, place, &Trap::place) != traps_.end();
    }

    const GuestMemory& memory_;
    kvm_sregs sregs_;
    std::vector<Trap> traps_;
    std::vector<std::uint64_t> addresses_;
};

void KvmMachine::stop_for_debugger(DebugStops stops) {
    debug_stops_ = std::move(stops);
}

Result<KvmMachine::DebugRegisters> KvmMachine::debug_registers() const {
    DebugRegisters registers;
    FTVMM_ASSIGN(registers.regs, vm_.vcpu.get_regs());
    FTVMM_ASSIGN(registers.sregs, vm_.vcpu.get_sregs());
    FTVMM_ASSIGN(registers.xsave, vm_.vcpu.get_xsave());
    return registers;
}

Result<std::uint64_t> KvmMachine::instruction_pointer() const {
    FTVMM_ASSIGN(const kvm_regs regs, vm_.vcpu.get_regs());
    return regs.rip;
}

std::optional<Gpa> KvmMachine::find_linear(std::uint64_t address) const {
    const auto sregs = vm_.vcpu.get_sregs();
    const auto page = sregs ? walk_pages(vm_.memory, *sregs, address) : std::nullopt;
    return page ? std::optional(page->address) : std::nullopt;
}

std::size_t KvmMachine::read_linear_memory(std::uint64_t address,
                                           std::span<std::byte> bytes) const {
    const auto sregs = vm_.vcpu.get_sregs();
    return sregs ? read_linear(vm_.memory, *sregs, address, bytes) : 0;
}

bool KvmMachine::is_debug_stop(std::uint64_t rip) const {
    return std::ranges::find(debug_stops_.addresses, rip) != debug_stops_.addresses.end();
}

// `is_within`: an instruction is under way. It is not stopped at again, and KVM may still have to
// read its bytes. Nor is the one that was stopped at last.
Result<kvm::Exit> KvmMachine::run_to_debug_stop(bool is_within) {
    FTVMM_ASSIGN(const bool has_event, has_event_to_deliver());
    const bool stands_between = is_fresh_ && !is_within && !has_event;
    FTVMM_ASSIGN(const std::uint64_t before, instruction_pointer());
    if (stands_between && debug_stops_.after_step) return stop_here(before);
    const bool is_left = is_within || (!is_fresh_ && stopped_at_ == before);
    bool steps = debug_stops_.after_step || (is_left && is_debug_stop(before));
    while (true) {
        FTVMM_ASSIGN(const auto trapped, steps ? run_one_instruction() : run_to_address());
        if (trapped.exit) {
            // A kick may have ended the run before the guest moved at all.
            FTVMM_ASSIGN(const std::uint64_t rip, instruction_pointer());
            if (stopped_at_ != rip) stopped_at_.reset();
            return *trapped.exit;
        }
        if (trapped.is_hit && (debug_stops_.after_step || is_debug_stop(trapped.rip))) {
            return stop_here(trapped.rip);
        }
        // The trap of another address in the same place of memory is stepped over.
        steps = debug_stops_.after_step || !trapped.is_hit;
    }
}

kvm::Exit KvmMachine::stop_here(std::uint64_t rip) {
    stopped_at_ = rip;
    stopped_for_debugger_ = true;
    is_fresh_ = false;
    return kvm::exit::Interrupted{};
}

Result<bool> KvmMachine::has_event_to_deliver() const {
    FTVMM_ASSIGN(const kvm_vcpu_events events, vm_.vcpu.get_vcpu_events());
    return has_event(events);
}

Result<KvmMachine::Trapped> KvmMachine::run_to_address() {
    FTVMM_ASSIGN(const kvm_sregs sregs, vm_.vcpu.get_sregs());
    DebugTraps traps(vm_.memory, sregs);
    for (const std::uint64_t address : debug_stops_.addresses)
        traps.lay(address);
    FTVMM_ASSIGN(const kvm::Exit exit, vm_.vcpu.run());
    return end_of_run(exit, traps);
}

Result<KvmMachine::Trapped> KvmMachine::run_one_instruction() {
    ProcessorView view;
    FTVMM_ASSIGN(view.regs, vm_.vcpu.get_regs());
    FTVMM_ASSIGN(view.sregs, vm_.vcpu.get_sregs());
    FTVMM_ASSIGN(const kvm_vcpu_events events, vm_.vcpu.get_vcpu_events());
    view.has_event = has_event(events);
    if (events.interrupt.injected != 0) view.interrupt = events.interrupt.nr;
    view.read = [&](std::uint64_t address, std::span<std::byte> target) {
        return read_linear(vm_.memory, view.sregs, address, target);
    };
    view.msr = [&](std::uint32_t index) {
        const auto entries = vm_.vcpu.get_msrs(std::span(&index, 1));
        return entries ? entries->front().data : 0;
    };
    const NextAddresses next = next_addresses(view);

    DebugTraps traps(vm_.memory, view.sregs);
    bool stays = false;
    for (const std::uint64_t address : next.addresses) {
        // Within itself an instruction can have no trap: one that jumps there.
        const bool is_own = address - view.regs.rip < next.length;
        stays = stays || is_own;
        if (!is_own) traps.lay(address);
    }
    FTVMM_ASSIGN(const kvm::Exit exit, stays ? step() : vm_.vcpu.run());
    if (!std::holds_alternative<kvm::exit::Debug>(exit)) return end_of_run(exit, traps);
    FTVMM_ASSIGN(const std::uint64_t rip, instruction_pointer());
    return Trapped{std::nullopt, true, rip};
}

// A trap is behind the guest when it exits: it has to stand before it.
Result<KvmMachine::Trapped> KvmMachine::end_of_run(const kvm::Exit& exit, const DebugTraps& traps) {
    if (!std::holds_alternative<kvm::exit::Hlt>(exit)) return Trapped{exit};
    FTVMM_ASSIGN(kvm_regs regs, vm_.vcpu.get_regs());
    --regs.rip;
    // One of the guest's own.
    if (!traps.covers(regs.rip)) return Trapped{exit};
    FTVMM_TRY(vm_.vcpu.set_regs(regs));
    return Trapped{std::nullopt, traps.has(regs.rip), regs.rip};
}

}  // namespace ftvmm::machine
