#include "node/debug_replay.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ftvmm::node {

namespace {

// The area of FXSAVE, which XSAVE's begins with (Intel SDM volume 1, 10.5.1).
debug::Registers registers_of(const machine::KvmMachine::DebugRegisters& from) {
    const auto area = std::as_bytes(std::span(from.xsave.region));
    const auto word = [&](std::size_t offset, std::size_t bytes) {
        std::uint32_t value = 0;
        std::memcpy(&value, area.data() + offset, bytes);
        return value;
    };
    const kvm_regs& regs = from.regs;
    const kvm_sregs& sregs = from.sregs;
    debug::Registers to;
    to.general = {regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp,
                  regs.r8,  regs.r9,  regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15};
    to.rip = regs.rip;
    to.rflags = static_cast<std::uint32_t>(regs.rflags);
    to.selectors = {sregs.cs.selector, sregs.ss.selector, sregs.ds.selector,
                    sregs.es.selector, sregs.fs.selector, sregs.gs.selector};
    to.fs_base = sregs.fs.base;
    to.gs_base = sregs.gs.base;

    // Parts that are in their initial state may be shown as they last were.
    constexpr std::size_t kXstateBv = 512;
    constexpr std::uint32_t kX87 = 1;
    constexpr std::uint32_t kSse = 2;
    const std::uint32_t held = word(kXstateBv, 4);
    constexpr std::size_t kStackStart = 32;
    constexpr std::size_t kSlot = 16;
    constexpr std::size_t kXmmStart = 160;
    constexpr std::uint32_t kInitialControl = 0x37f;
    constexpr std::uint32_t kAllEmpty = 0xffff;
    to.x87 = {kInitialControl, 0, kAllEmpty};
    if ((held & kX87) != 0) {
        for (std::size_t i = 0; i < to.st.size(); ++i) {
            std::memcpy(to.st.at(i).data(), area.data() + kStackStart + i * kSlot,
                        to.st.at(i).size());
        }
        // A bit for each register that is not empty; GDB has two bits, both set for an empty one.
        const std::uint32_t used = word(4, 1);
        std::uint32_t tags = 0;
        for (unsigned i = 0; i < to.st.size(); ++i) {
            if ((used >> i & 1U) == 0) tags |= 3U << (2 * i);
        }
        to.x87 = {word(0, 2), word(2, 2),  tags,        word(12, 2),
                  word(8, 4), word(20, 2), word(16, 4), word(6, 2)};
    }
    if ((held & kSse) != 0) {
        for (std::size_t i = 0; i < to.xmm.size(); ++i)
            std::memcpy(to.xmm.at(i).data(), area.data() + kXmmStart + i * kSlot, kSlot);
    }
    to.mxcsr = word(24, 4);
    return to;
}

}  // namespace

DebugReplay::DebugReplay(DebugSource source) : source_(std::move(source)) {
    make_ =
        [this](std::span<const std::byte> seed) -> Result<std::unique_ptr<replay::GuestMachine>> {
        FTVMM_ASSIGN(auto machine, source_.make(seed));
        machine_ = machine.get();
        return machine;
    };
}

DebugReplay::~DebugReplay() = default;

Error DebugReplay::no_such_place() {
    return Error("the replay did not come again to where it was before",
                 "a guest that reads its code sees the breakpoints in it: set none there");
}

Result<std::unique_ptr<DebugReplay>> DebugReplay::begin(DebugSource source) {
    auto replay = std::make_unique<DebugReplay>(std::move(source));
    FTVMM_TRY(replay->rewind());
    FTVMM_ASSIGN(const bool stands, replay->step());
    if (!stands) return fail("the log ends before the guest's first instruction");
    return replay;
}

Result<void> DebugReplay::rewind() {
    cursor_.reset();
    machine_ = nullptr;
    FTVMM_ASSIGN(auto log, source_.open());
    log_ = std::make_unique<replay::LogReader>(std::move(log));
    FTVMM_ASSIGN(auto timer, DeadlineTimer::create());
    cursor_ = std::make_unique<ReplayCursor>(*log_, make_, source_.options, std::move(timer));
    at_ = {};
    while (machine_ == nullptr) {
        FTVMM_ASSIGN(const Came came, advance({}));
        if (came == Came::kToEnd) return fail("no life of a guest begins in this log");
    }
    return {};
}

Result<DebugReplay::Came> DebugReplay::advance(machine::KvmMachine::DebugStops stops) {
    if (machine_ != nullptr) machine_->stop_for_debugger(std::move(stops));
    FTVMM_ASSIGN(const auto came, cursor_->advance());
    const auto landmark = cursor_->progress().landmark;
    const bool is_new = cursor_->lives() != at_.life || landmark != at_.landmark;
    if (is_new) {
        at_ = {cursor_->lives(), landmark, {}};
        stepped_legs_.clear();
        arrivals_.clear();
    }
    if (came == ReplayCursor::Came::kToEnd) {
        const bool has_diverged = end_ && std::holds_alternative<replay_end::Diverged>(*end_);
        if (!has_diverged) end_ = cursor_->end();
        return Came::kToEnd;
    }
    if (is_new) return Came::kToLandmark;
    const bool stopped = came == ReplayCursor::Came::kNowhere && machine_ != nullptr &&
                         machine_->stopped_for_debugger();
    return stopped ? Came::kToStop : Came::kNowhere;
}

Result<DebugReplay::Came> DebugReplay::advance_step() {
    FTVMM_ASSIGN(const Came came, advance({.addresses = {}, .after_step = true}));
    if (came == Came::kToStop) note_step();
    return came;
}

void DebugReplay::note_step() {
    const bool goes_on = !at_.legs.empty() && !at_.legs.back().address;
    if (goes_on) {
        ++at_.legs.back().count;
    } else {
        at_.legs.push_back({std::nullopt, 1});
    }
    stepped_legs_ = at_.legs;
    arrivals_.clear();
}

void DebugReplay::note_arrival() {
    const std::uint64_t address = rip();
    at_.legs = stepped_legs_;
    at_.legs.push_back({address, ++arrivals_[address]});
}

Result<bool> DebugReplay::step() {
    while (true) {
        FTVMM_ASSIGN(const Came came, advance_step());
        if (came == Came::kToEnd) return false;
        if (came == Came::kToStop) return true;
    }
}

Result<void> DebugReplay::go_to(const Place& place) {
    const auto is_at_landmark = [&] {
        return at_.life == place.life && at_.landmark == place.landmark;
    };
    const bool lies_ahead = at_.life < place.life ||
                            (at_.life == place.life && at_.landmark < place.landmark) ||
                            (is_at_landmark() && at_.legs.empty());
    if (!lies_ahead) FTVMM_TRY(rewind());
    while (!is_at_landmark()) {
        FTVMM_ASSIGN(const Came came, advance({}));
        if (came == Came::kToEnd && !is_at_landmark()) return Failure(no_such_place());
    }
    for (const auto& leg : place.legs)
        FTVMM_TRY(follow(leg));
    return {};
}

Result<void> DebugReplay::follow(const ReplayPlace::Leg& leg) {
    for (std::uint64_t i = 0; i < leg.count;) {
        FTVMM_ASSIGN(const Came came,
                     leg.address ? advance({.addresses = {*leg.address}}) : advance_step());
        if (came == Came::kNowhere) continue;
        if (came != Came::kToStop) return Failure(no_such_place());
        if (leg.address) note_arrival();
        ++i;
    }
    return {};
}

std::uint64_t DebugReplay::rip() const {
    // An error is met again, and told, by whatever follows.
    return machine_->instruction_pointer().value_or(0);
}

bool DebugReplay::is_at_breakpoint() const {
    return std::ranges::find(breakpoints_, rip()) != breakpoints_.end();
}

std::optional<std::uint64_t> DebugReplay::changed() {
    if (watches_.empty()) return std::nullopt;
    return watches_.changed(*machine_);
}

Result<debug::Registers> DebugReplay::registers() {
    FTVMM_ASSIGN(const auto registers, machine_->debug_registers());
    return registers_of(registers);
}

std::size_t DebugReplay::read_memory(std::uint64_t address, std::span<std::byte> bytes) {
    return machine_->read_linear_memory(address, bytes);
}

Result<debug::Stopped> DebugReplay::move(debug::Move move) {
    switch (move) {
        case debug::Move::kStep: {
            FTVMM_ASSIGN(const bool done, step());
            if (!done) return debug::stopped::AtEnd{};
            return debug::stopped::Stepped{};
        }
        case debug::Move::kContinue:
            return go_on();
        case debug::Move::kReverseStep:
            return step_back();
        case debug::Move::kReverseContinue:
            return go_back();
    }
    return debug::stopped::Stepped{};
}

Result<debug::Stopped> DebugReplay::go_on() {
    (void)changed();
    FTVMM_ASSIGN(const bool stands, step());
    if (!stands) return debug::stopped::AtEnd{};
    if (const auto watch = changed()) return debug::stopped::Watched{*watch};
    if (is_at_breakpoint()) return debug::stopped::Breakpoint{};
    Place from = at_;
    while (true) {
        FTVMM_ASSIGN(const Came came, advance({.addresses = breakpoints_}));
        if (came == Came::kNowhere) continue;
        if (came == Came::kToStop) note_arrival();
        if (changed()) return step_to_change(from);
        if (came == Came::kToStop) return debug::stopped::Breakpoint{};
        if (came == Came::kToEnd) return debug::stopped::AtEnd{};
        from = at_;
        if (!source_.is_interrupted()) continue;
        FTVMM_ASSIGN(const bool goes_on, step());
        if (!goes_on) return debug::stopped::AtEnd{};
        return debug::stopped::Interrupted{};
    }
}

// Something watched changes soon behind `from`, or a breakpoint is come to before.
Result<debug::Stopped> DebugReplay::step_to_change(const Place& from) {
    FTVMM_TRY(go_to(from));
    (void)changed();
    while (true) {
        FTVMM_ASSIGN(const bool stands, step());
        if (const auto watch = changed()) return debug::stopped::Watched{*watch};
        if (!stands) return debug::stopped::AtEnd{};
        if (is_at_breakpoint()) return debug::stopped::Breakpoint{};
        if (source_.is_interrupted()) return debug::stopped::Interrupted{};
    }
}

}  // namespace ftvmm::node
