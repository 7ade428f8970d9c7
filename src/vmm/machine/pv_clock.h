// The guest's clock as a word in its own memory: reading it costs no exit.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "vmm/virtio/dma.h"

namespace ftvmm::machine {

// KVM's paravirtual clock (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW and
// MSR_KVM_WALL_CLOCK_NEW). The guest adds to the time in the page what its time stamp counter,
// times a factor, says has passed since. Here the factor is nothing: 1, after a shift by 32 bits
// and before another (pvclock.h, pvclock_scale_delta()), and not 0, by which Linux once divides. So
// what the guest reads is the guest time of the last input::Time, the same on both sides of a pair,
// in the vDSO too.
//
// Its resolution is thereby that of the exits and interrupts. A loop that does nothing but wait for
// the clock ends with the tick that interrupts it.
class PvClock {
  public:
    static constexpr std::uint32_t kWallClockMsr = 0x4b564d00;
    static constexpr std::uint32_t kSystemTimeMsr = 0x4b564d01;

    struct State {
        std::uint64_t wall_clock_msr = 0;
        std::uint64_t system_time_msr = 0;
        std::uint32_t version = 0;  // Of the page; even between two writes.
        std::int64_t wall_ns = 0;   // The time of day at guest time zero, since 1970.
        // When the guest last read the time of day, as long as its own clock has not gone on since.
        std::optional<std::int64_t> read_at_ns;

        bool operator==(const State&) const = default;
    };

    PvClock() = default;
    static Result<PvClock> from_state(const State& state, const virtio::Dma& dma);
    [[nodiscard]] const State& state() const { return state_; }

    // It is `at`, or 1970 if that is later, at guest time `now`.
    void set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds> at, GuestTime now);

    [[nodiscard]] std::uint64_t read_msr(std::uint32_t msr) const;
    // False means #GP: the address is no RAM, or reserved bits are set.
    [[nodiscard]] bool write_msr(virtio::Dma& dma, std::uint32_t msr, std::uint64_t value,
                                 GuestTime now);

    // A guest that counts its time by ticks (Linux until it has chosen a clock) loses what passes
    // between its reading of the time of day and its first tick: 60 ms of an emulated boot. Its
    // first tick starts at `now`: when it ought to have started, if that is not too long ago to be
    // the same boot.
    [[nodiscard]] std::optional<GuestTime> take_start_of_ticks(GuestTime now);

    // Whether the guest looks at the page.
    [[nodiscard]] bool is_on() const;
    // Shows the guest `now`.
    void show(virtio::Dma& dma, GuestTime now);

  private:
    explicit PvClock(const State& state) : state_(state) {}
    void show_wall_clock(virtio::Dma& dma) const;

    State state_;
};

}  // namespace ftvmm::machine
