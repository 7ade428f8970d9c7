#include "vmm/dev/x2apic.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/dev/bits.h"
#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

constexpr std::uint32_t kMsrId = 0x802;
constexpr std::uint32_t kMsrVersion = 0x803;
constexpr std::uint32_t kMsrTpr = 0x808;
constexpr std::uint32_t kMsrPpr = 0x80a;
constexpr std::uint32_t kMsrEoi = 0x80b;
constexpr std::uint32_t kMsrLdr = 0x80d;
constexpr std::uint32_t kMsrSvr = 0x80f;
constexpr std::uint32_t kMsrIsr = 0x810;
constexpr std::uint32_t kMsrTmr = 0x818;
constexpr std::uint32_t kMsrIrr = 0x820;
constexpr std::uint32_t kMsrEsr = 0x828;
constexpr std::uint32_t kMsrIcr = 0x830;
constexpr std::uint32_t kMsrLvt = 0x832;
constexpr std::uint32_t kMsrInitialCount = 0x838;
constexpr std::uint32_t kMsrCurrentCount = 0x839;
constexpr std::uint32_t kMsrDivide = 0x83e;
constexpr std::uint32_t kMsrSelfIpi = 0x83f;

constexpr std::uint32_t kId = 0;
constexpr std::uint32_t kVersion = 0x50014;  // Integrated, LVT entries 0 to 5.
constexpr std::uint32_t kLogicalId = 1;      // Cluster 0, CPU 0: follows from the ID.
constexpr std::uint32_t kBroadcast = 0xffffffff;

constexpr std::uint32_t kSvrBits = 0x3ff;
constexpr std::uint32_t kSvrEnabled = 0x100;

constexpr std::uint32_t kMasked = 0x10000;
constexpr std::uint32_t kTimerPeriodic = 0x20000;
constexpr std::uint32_t kDeliveryMode = 0x700;
constexpr std::uint32_t kExtInt = 0x700;
// Per LVT entry the bits that can be set. Delivery status and remote IRR are read only: accepted,
// and always zero.
constexpr std::array<std::uint32_t, 6> kLvtBits = {0x300ff, 0x107ff, 0x107ff,
                                                   0x1a7ff, 0x1a7ff, 0x100ff};
constexpr std::array<std::uint32_t, 6> kLvtReadOnly = {0x1000, 0x1000, 0x1000,
                                                       0x5000, 0x5000, 0x1000};

constexpr std::uint64_t kIcrBits = 0xffffffff'000ccfff;
constexpr std::uint64_t kIcrLogical = 0x800;
constexpr std::uint8_t kDivideBits = 0x0b;

constexpr std::uint8_t kSendIllegalVector = 0x20;
constexpr std::uint8_t kReceiveIllegalVector = 0x40;
constexpr unsigned kFirstVector = 16;  // Those below are reserved for exceptions.

void set(X2Apic::Vectors& vectors, std::uint8_t vector) {
    vectors.at(vector / 32) |= 1U << (vector % 32);
}

void clear(X2Apic::Vectors& vectors, std::uint8_t vector) {
    vectors.at(vector / 32) &= ~(1U << (vector % 32));
}

bool has(const X2Apic::Vectors& vectors, std::uint8_t vector) {
    return (vectors.at(vector / 32) >> (vector % 32) & 1U) != 0;
}

std::optional<std::uint8_t> highest(const X2Apic::Vectors& vectors) {
    for (unsigned word = 8; word-- > 0;) {
        const std::uint32_t bits = vectors.at(word);
        if (bits == 0) continue;
        return byte_of(word * 32 + 31 - static_cast<unsigned>(std::countl_zero(bits)));
    }
    return std::nullopt;
}

int count(const X2Apic::Vectors& vectors) {
    int sum = 0;
    for (const std::uint32_t word : vectors)
        sum += std::popcount(word);
    return sum;
}

std::uint8_t priority_class(std::uint8_t vector) {
    return vector & 0xf0;
}

// Whether the ICR's destination includes this CPU.
bool reaches_self(std::uint64_t icr) {
    const auto destination = static_cast<std::uint32_t>(icr >> 32);
    switch (icr >> 18 & 3) {
        case 0:
            if (destination == kBroadcast) return true;
            if ((icr & kIcrLogical) == 0) return destination == kId;
            return destination >> 16 == 0 && (destination & kLogicalId) != 0;
        case 3:
            return false;  // All but this one.
        default:
            return true;  // This one; all.
    }
}

bool valid_lvt(const X2Apic::State& state) {
    for (std::size_t entry = 0; entry < kLvtBits.size(); ++entry) {
        if ((state.lvt.at(entry) & ~kLvtBits.at(entry)) != 0) return false;
        const bool masked = (state.lvt.at(entry) & kMasked) != 0;
        if ((state.svr & kSvrEnabled) == 0 && !masked) return false;
    }
    return true;
}

}  // namespace

Result<X2Apic> X2Apic::from_state(const State& state) {
    if ((state.svr & ~kSvrBits) != 0 || (state.icr & ~kIcrBits) != 0 ||
        (state.divide & ~kDivideBits) != 0) {
        return fail("local APIC: a register has bits that it has not");
    }
    if (!valid_lvt(state)) return fail("local APIC: an impossible LVT entry");
    constexpr std::uint32_t kReserved = (1U << kFirstVector) - 1;
    if (((state.irr[0] | state.isr[0]) & kReserved) != 0) {
        return fail("local APIC: a reserved vector is requested or in service");
    }
    constexpr std::uint8_t kErrors = kSendIllegalVector | kReceiveIllegalVector;
    if (((state.errors | state.errors_shown) & ~kErrors) != 0) {
        return fail("local APIC: an unknown error");
    }
    if (state.timer_runs && state.initial_count == 0) {
        return fail("local APIC: the timer runs without a count");
    }
    if (state.period_start_ns < 0 || state.period_start_ns > kMaxGuestNs) {
        return fail("local APIC: the timer was started outside of time");
    }
    return X2Apic(state);
}

bool X2Apic::enabled() const {
    return (state_.svr & kSvrEnabled) != 0;
}

bool X2Apic::periodic() const {
    return (state_.lvt[kTimer] & kTimerPeriodic) != 0;
}

std::int64_t X2Apic::divisor() const {
    // Bits 3, 1 and 0 count 2, 4, ..., 128, and then 1.
    const unsigned code = (state_.divide >> 1 & 4U) | (state_.divide & 3U);
    return std::int64_t{1} << ((code + 1) & 7U);
}

std::int64_t X2Apic::period_ns() const {
    return state_.initial_count * divisor();
}

std::uint32_t X2Apic::current_count(GuestTime now) const {
    if (!state_.timer_runs) return 0;
    const std::int64_t elapsed = std::max<std::int64_t>(ns_of(now) - state_.period_start_ns, 0);
    if (elapsed >= period_ns() && !periodic()) return 0;
    const std::int64_t counted = elapsed % period_ns() / divisor();
    return static_cast<std::uint32_t>(state_.initial_count - counted);
}

bool X2Apic::advance(GuestTime now) {
    if (!state_.timer_runs) return false;
    const std::int64_t elapsed = ns_of(now) - state_.period_start_ns;
    if (elapsed < period_ns()) return false;
    if (periodic()) return advance_periodic(elapsed);
    state_.timer_runs = false;
    const std::uint32_t entry = state_.lvt[kTimer];
    return (entry & kMasked) == 0 && accept(byte_of(entry));
}

// By whole periods, so that a late look delays no later one.
bool X2Apic::advance_periodic(std::int64_t elapsed) {
    if (holds_tick()) return false;
    const std::int64_t owed = elapsed / period_ns();
    const std::uint32_t entry = state_.lvt[kTimer];
    const bool told = (entry & kMasked) == 0 && accept(byte_of(entry));
    // What nobody can be told is not kept.
    const std::int64_t gone = told ? std::max<std::int64_t>(1, owed - kMostOwed) : owed;
    state_.period_start_ns += gone * period_ns();
    return told;
}

bool X2Apic::holds_tick() const {
    const std::uint8_t vector = byte_of(state_.lvt[kTimer]);
    return periodic() && (has(state_.irr, vector) || has(state_.isr, vector));
}

void X2Apic::forget_periods(GuestTime now) {
    const std::int64_t elapsed = ns_of(now) - state_.period_start_ns;
    if (!state_.timer_runs || !periodic() || elapsed < period_ns()) return;
    state_.period_start_ns += elapsed - elapsed % period_ns();
}

std::optional<GuestTime> X2Apic::next_deadline() const {
    if (!state_.timer_runs || (state_.lvt[kTimer] & kMasked) != 0) return std::nullopt;
    return at_ns(state_.period_start_ns + period_ns());
}

bool X2Apic::accept(std::uint8_t vector) {
    if (vector < kFirstVector) {
        report(kReceiveIllegalVector);
        return false;
    }
    if (!enabled()) return false;
    set(state_.irr, vector);
    return true;
}

void X2Apic::report(std::uint8_t error) {
    state_.errors |= error;
    const std::uint32_t entry = state_.lvt[kError];
    const std::uint8_t vector = byte_of(entry);
    // An illegal vector here too is not reported by itself: there would be no end to it.
    if ((entry & kMasked) != 0 || vector < kFirstVector || !enabled()) return;
    set(state_.irr, vector);
}

std::uint8_t X2Apic::processor_priority() const {
    const std::uint8_t in_service = priority_class(highest(state_.isr).value_or(0));
    return priority_class(state_.tpr) >= in_service ? state_.tpr : in_service;
}

std::optional<std::uint8_t> X2Apic::pending() const {
    const auto vector = highest(state_.irr);
    if (!vector || priority_class(*vector) <= priority_class(processor_priority())) {
        return std::nullopt;
    }
    return vector;
}

std::uint8_t X2Apic::acknowledge() {
    const auto vector = pending();
    if (!vector) return byte_of(state_.svr);
    clear(state_.irr, *vector);
    set(state_.isr, *vector);
    return *vector;
}

bool X2Apic::accepts_extint() const {
    // Software-disabled, every entry is masked.
    return (state_.lvt[kLint0] & (kMasked | kDeliveryMode)) == kExtInt;
}

bool X2Apic::take_nmi() {
    return std::exchange(state_.nmi, false);
}

bool X2Apic::may_elide_eoi() const {
    return count(state_.isr) == 1 && count(state_.irr) == 0;
}

void X2Apic::end_of_interrupt() {
    if (const auto vector = highest(state_.isr)) clear(state_.isr, *vector);
}

std::optional<std::uint64_t> X2Apic::read(std::uint32_t msr, GuestTime now) const {
    if (msr >= kMsrIsr && msr < kMsrTmr) return state_.isr.at(msr - kMsrIsr);
    if (msr >= kMsrTmr && msr < kMsrIrr) return 0;  // Every vector is edge triggered.
    if (msr >= kMsrIrr && msr < kMsrEsr) return state_.irr.at(msr - kMsrIrr);
    if (msr >= kMsrLvt && msr < kMsrInitialCount) return state_.lvt.at(msr - kMsrLvt);
    switch (msr) {
        case kMsrId:
            return kId;
        case kMsrVersion:
            return kVersion;
        case kMsrTpr:
            return state_.tpr;
        case kMsrPpr:
            return processor_priority();
        case kMsrLdr:
            return kLogicalId;
        case kMsrSvr:
            return state_.svr;
        case kMsrEsr:
            return state_.errors_shown;
        case kMsrIcr:
            return state_.icr;
        case kMsrInitialCount:
            return state_.initial_count;
        case kMsrCurrentCount:
            return current_count(now);
        case kMsrDivide:
            return state_.divide;
        default:
            return std::nullopt;  // Write only, reserved or not there.
    }
}

bool X2Apic::write(std::uint32_t msr, std::uint64_t value, GuestTime now) {
    if (msr == kMsrIcr) return write_icr(value);
    if (value > UINT32_MAX) return false;
    const auto low = static_cast<std::uint32_t>(value);
    if (msr >= kMsrLvt && msr < kMsrInitialCount) {
        return write_lvt(static_cast<Lvt>(msr - kMsrLvt), low, now);
    }
    switch (msr) {
        case kMsrTpr:
            if (low > 0xff) return false;
            state_.tpr = byte_of(low);
            return true;
        case kMsrEoi:
            if (low != 0) return false;
            end_of_interrupt();
            return true;
        case kMsrSvr:
            if ((low & ~kSvrBits) != 0) return false;
            write_svr(low);
            return true;
        case kMsrEsr:
            if (low != 0) return false;
            state_.errors_shown = std::exchange(state_.errors, std::uint8_t{0});
            return true;
        case kMsrInitialCount:
            write_initial_count(low, now);
            return true;
        case kMsrDivide:
            return write_divide(low, now);
        case kMsrSelfIpi:
            if (low > 0xff) return false;
            send_to_self(byte_of(low));
            return true;
        default:
            return false;  // Read only, reserved or not there.
    }
}

void X2Apic::write_svr(std::uint32_t value) {
    state_.svr = value;
    if (enabled()) return;
    for (std::uint32_t& entry : state_.lvt)
        entry |= kMasked;
}

bool X2Apic::write_lvt(Lvt entry, std::uint32_t value, GuestTime now) {
    const std::uint32_t writable = kLvtBits.at(entry);
    if ((value & ~(writable | kLvtReadOnly.at(entry))) != 0) return false;
    // What has expired by now did so under the old entry.
    if (entry == kTimer) {
        advance(now);
        forget_periods(now);
    }
    state_.lvt.at(entry) = (value & writable) | (enabled() ? 0 : kMasked);
    return true;
}

void X2Apic::write_initial_count(std::uint32_t value, GuestTime now) {
    advance(now);
    state_.initial_count = value;
    state_.timer_runs = value != 0;
    state_.period_start_ns = std::clamp<std::int64_t>(ns_of(now), 0, kMaxGuestNs);
}

bool X2Apic::write_divide(std::uint32_t value, GuestTime now) {
    if ((value & ~std::uint32_t{kDivideBits}) != 0) return false;
    advance(now);
    forget_periods(now);
    const std::int64_t counted = state_.timer_runs ? state_.initial_count - current_count(now) : 0;
    state_.divide = byte_of(value);
    if (!state_.timer_runs) return true;
    // The count goes on from where it is, at the new pace.
    const std::int64_t start = ns_of(now) - counted * divisor();
    state_.period_start_ns = std::clamp<std::int64_t>(start, 0, kMaxGuestNs);
    return true;
}

void X2Apic::send_to_self(std::uint8_t vector) {
    if (vector < kFirstVector) return report(kSendIllegalVector);
    accept(vector);
}

bool X2Apic::write_icr(std::uint64_t value) {
    if ((value & ~kIcrBits) != 0) return false;
    state_.icr = value;
    switch (value >> 8 & 7) {
        case 0:  // Fixed, and lowest priority.
        case 1:
            if (reaches_self(value)) send_to_self(byte_of(value));
            return true;
        case 4:
            if (reaches_self(value)) state_.nmi = true;
            return true;
        default:
            return true;
    }
}

}  // namespace ftvmm::dev
