// The local interrupt controller of the one vCPU, in x2APIC mode.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::dev {

// Source: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller". Registers are
// the MSRs 0x802 (ID, 0) to 0x83f (SELF IPI). Starts as firmware leaves it: enabled, LINT0 passing
// the 8259's requests through (ExtINT), LINT1 an NMI.
//
// The timer's clock is 1 GHz before the divider: one count per nanosecond at divide by 1. The
// expiries of a periodic timer are told one by one, each when the one before has been served, so
// that a guest that counts its ticks gets those, too, that came while it could take none. How often
// to look is the machine's choice.
//
// An interrupt's way: accept() -> IRR -- acknowledge() --> ISR -- EOI --> gone. pending() is the
// highest of IRR above the processor priority. Software-disabled (SVR bit 8), it accepts nothing,
// and what it had accepted stays deliverable.
//
// Paravirtual EOI (KVM's MSR 0x4b564d04): after acknowledge(), where may_elide_eoi(), the machine
// may set the guest's flag; a flag found cleared later means elided_eoi(). The machine takes its
// flag back before it accepts another interrupt, so that the guest's next EOI is a real one.
//
// Left out: TSC deadline (hidden in CPUID), CMCI, xAPIC mode, other CPUs (IPIs to them go nowhere,
// as INIT, SMI and start-up to itself do), EOI broadcasts and level-triggered vectors (there is no
// IO-APIC), performance and thermal interrupts (their LVT entries are plain registers).
//
// Owned by the machine, used by the vCPU's thread alone.
class X2Apic {
  public:
    static constexpr std::uint32_t kFirstMsr = 0x800;
    static constexpr std::uint32_t kLastMsr = 0x8ff;
    static constexpr std::uint64_t kTimerHz = 1'000'000'000;
    // Periods that may wait to be told: seconds of any tick in use. Who lacks more was stopped, and
    // has other ways to find out.
    static constexpr std::int64_t kMostOwed = 1000;

    // The LVT entries, in the order of their MSRs from 0x832.
    enum Lvt : std::uint8_t { kTimer, kThermal, kPerformance, kLint0, kLint1, kError };
    // One bit per vector.
    using Vectors = std::array<std::uint32_t, 8>;

    struct State {
        std::uint8_t tpr = 0;
        std::uint32_t svr = 0x1ff;
        Vectors isr{};
        Vectors irr{};
        std::uint8_t errors = 0;        // Since ESR was last written.
        std::uint8_t errors_shown = 0;  // What ESR reads.
        std::uint64_t icr = 0;
        std::array<std::uint32_t, 6> lvt{0x10000, 0x10000, 0x10000, 0x700, 0x400, 0x10000};
        std::uint32_t initial_count = 0;
        std::uint8_t divide = 0;  // As written: 0 divides by 2.
        bool timer_runs = false;  // False too once a one-shot has expired.
        // Guest time at which the count was the initial; of a periodic timer, the start of the
        // first period whose end has not been told.
        std::int64_t period_start_ns = 0;
        bool nmi = false;  // An NMI waits for take_nmi().

        bool operator==(const State&) const = default;
    };

    X2Apic() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<X2Apic> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // The guest's RDMSR and WRMSR of kFirstMsr to kLastMsr; nothing and false mean #GP.
    [[nodiscard]] std::optional<std::uint64_t> read(std::uint32_t msr, GuestTime now) const;
    [[nodiscard]] bool write(std::uint32_t msr, std::uint64_t value, GuestTime now);

    // The task priority, which the guest also reaches as CR8 (its bits 7 to 4).
    [[nodiscard]] std::uint8_t tpr() const { return state_.tpr; }
    void set_tpr(std::uint8_t tpr) { state_.tpr = tpr; }

    // Lets the timer expire up to `now`; true if that requested its interrupt.
    bool advance(GuestTime now);
    // When the timer expires, which may be past: nothing while it is stopped or masked.
    [[nodiscard]] std::optional<GuestTime> next_deadline() const;
    // Whether advance() has to wait for the guest to serve the last tick.
    [[nodiscard]] bool holds_tick() const;

    // A message (MSI) or IPI with an edge-triggered `vector`; false where it was not accepted.
    bool accept(std::uint8_t vector);
    // The vector that acknowledge() would return, or nothing.
    [[nodiscard]] std::optional<std::uint8_t> pending() const;
    // The CPU takes the pending vector, or the spurious one where there is none any more.
    std::uint8_t acknowledge();
    // Whether LINT0 lets the 8259's request through to the CPU.
    [[nodiscard]] bool accepts_extint() const;
    // Whether an NMI was sent to this CPU since the last call.
    [[nodiscard]] bool take_nmi();

    // Whether nothing would come of an EOI now but the end of the one vector in service.
    [[nodiscard]] bool may_elide_eoi() const;
    // The guest has ended the vector in service without writing EOI.
    void elided_eoi() { end_of_interrupt(); }

  private:
    explicit X2Apic(const State& state) : state_(state) {}
    [[nodiscard]] std::uint8_t processor_priority() const;
    [[nodiscard]] bool enabled() const;
    [[nodiscard]] bool periodic() const;
    [[nodiscard]] bool advance_periodic(std::int64_t elapsed);
    void forget_periods(GuestTime now);
    [[nodiscard]] std::int64_t divisor() const;
    [[nodiscard]] std::int64_t period_ns() const;
    [[nodiscard]] std::uint32_t current_count(GuestTime now) const;
    [[nodiscard]] bool write_lvt(Lvt entry, std::uint32_t value, GuestTime now);
    [[nodiscard]] bool write_divide(std::uint32_t value, GuestTime now);
    [[nodiscard]] bool write_icr(std::uint64_t value);
    void write_svr(std::uint32_t value);
    void write_initial_count(std::uint32_t value, GuestTime now);
    void send_to_self(std::uint8_t vector);
    void report(std::uint8_t error);
    void end_of_interrupt();

    State state_;
};

}  // namespace ftvmm::dev
