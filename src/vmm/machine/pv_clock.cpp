#include "vmm/machine/pv_clock.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "vmm/dev/ticks.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::machine {

namespace {

constexpr std::uint64_t kEnabled = 1;

// struct pvclock_vcpu_time_info (pvclock-abi.h).
constexpr std::size_t kPageBytes = 32;
constexpr std::size_t kVersion = 0;
constexpr std::size_t kSystemTime = 16;
constexpr std::size_t kMultiplier = 24;
constexpr std::size_t kShift = 28;
constexpr std::size_t kFlags = 29;
constexpr std::uint8_t kTscStable = 1;  // Every CPU's page shows the same time: there is one.
constexpr std::int8_t kShiftToNothing = -32;

// struct pvclock_wall_clock: version, seconds, nanoseconds, 32 bits each.
constexpr std::size_t kWallClockBytes = 12;
constexpr std::uint32_t kWallClockVersion = 2;

Gpa address_of(std::uint64_t msr) {
    return Gpa(msr & ~kEnabled);
}

}  // namespace

Result<PvClock> PvClock::from_state(const State& state, const virtio::Dma& dma) {
    if ((state.version & 1U) != 0) return fail("the paravirtual clock is in the middle of a write");
    if (state.read_at_ns && (*state.read_at_ns < 0 || *state.read_at_ns > dev::kMaxGuestNs)) {
        return fail("the paravirtual clock was read outside of time");
    }
    const PvClock clock(state);
    if (clock.is_on() && !dma.contains(address_of(state.system_time_msr), kPageBytes)) {
        return fail("the paravirtual clock's page is not in the guest's memory");
    }
    return clock;
}

void PvClock::set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds> at, GuestTime now) {
    // So that the difference is in range, whatever a host's clock says.
    const std::int64_t since_1970 = std::max<std::int64_t>(at.time_since_epoch().count(), 0);
    state_.wall_ns = since_1970 - dev::ns_of(now);
}

std::uint64_t PvClock::read_msr(std::uint32_t msr) const {
    return msr == kWallClockMsr ? state_.wall_clock_msr : state_.system_time_msr;
}

bool PvClock::write_msr(virtio::Dma& dma, std::uint32_t msr, std::uint64_t value, GuestTime now) {
    if (msr == kWallClockMsr) {
        if (!dma.contains(Gpa(value), kWallClockBytes)) return false;
        state_.wall_clock_msr = value;
        state_.read_at_ns = dev::ns_of(now);
        show_wall_clock(dma);
        return true;
    }
    const bool enables = (value & kEnabled) != 0;
    if (enables && !dma.contains(address_of(value), kPageBytes)) return false;
    state_.system_time_msr = value;
    show(dma, now);
    return true;
}

std::optional<GuestTime> PvClock::take_start_of_ticks(GuestTime now) {
    const auto read_at = std::exchange(state_.read_at_ns, std::nullopt);
    constexpr std::int64_t kLongest = dev::kNsPerSecond;
    if (!read_at || dev::ns_of(now) - *read_at > kLongest) return std::nullopt;
    return dev::at_ns(*read_at);
}

bool PvClock::is_on() const {
    return (state_.system_time_msr & kEnabled) != 0;
}

void PvClock::show(virtio::Dma& dma, GuestTime now) {
    if (!is_on()) return;
    // Version 0 would mean that it was never written.
    state_.version = state_.version + 2 == 0 ? 2 : state_.version + 2;
    std::array<std::byte, kPageBytes> page{};
    const std::span bytes(page);
    pci::store_at(bytes, kVersion, state_.version);
    pci::store_at(bytes, kSystemTime, static_cast<std::uint64_t>(dev::ns_of(now)));
    pci::store_at(bytes, kMultiplier, std::uint32_t{1});
    pci::store_at(bytes, kShift, static_cast<std::uint8_t>(kShiftToNothing));
    pci::store_at(bytes, kFlags, kTscStable);
    // It was RAM when the guest named it, and RAM does not go away.
    (void)dma.write(address_of(state_.system_time_msr), page);
}

void PvClock::show_wall_clock(virtio::Dma& dma) const {
    const auto ns = static_cast<std::uint64_t>(state_.wall_ns);
    constexpr auto kSecond = static_cast<std::uint64_t>(dev::kNsPerSecond);
    std::array<std::byte, kWallClockBytes> clock{};
    const std::span bytes(clock);
    pci::store_at(bytes, 0, kWallClockVersion);
    pci::store_at(bytes, 4, static_cast<std::uint32_t>(ns / kSecond));
    pci::store_at(bytes, 8, static_cast<std::uint32_t>(ns % kSecond));
    (void)dma.write(Gpa(state_.wall_clock_msr), clock);
}

}  // namespace ftvmm::machine
