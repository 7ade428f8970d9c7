// How far the Primary may be ahead of the Secondary, and what holds it back. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace ftvmm::ftlink {

// Both sides of a pair have the same: they are of one build, and the handshake compares that.
struct LinkLimits {
    // Batches that were sent and not replayed, in bytes of the wire and in records: what the
    // Secondary holds. A record takes about 250 bytes of memory once it is decoded. Not more than
    // it has room for is sent, so the Secondary never stops reading and probes never wait behind
    // batches. One batch goes beyond where nothing else is under way.
    std::size_t unreplayed_bytes = std::size_t{32} << 20U;
    std::size_t unreplayed_records = 65536;
    // Batches that wait on the Primary to be sent: full from there on, and the vCPU stalls.
    std::size_t queued_bytes = std::size_t{8} << 20U;
    // So long after its last message the Primary sends a probe: several fit into the release lease.
    BootClock::duration probe_every = std::chrono::milliseconds(50);
    // Probes in a row without an answer: then it stays quiet, and the detector has long decided.
    std::size_t unanswered_probes = 64;
    // So long after its last ack the Secondary says how far it has replayed.
    BootClock::duration replay_ack_every = std::chrono::milliseconds(5);
};

// When the vCPU closes its open batch and hands it on: at once where an output waits for it or the
// guest halts, else when it is old enough to be worth a message. The vCPU thread's own.
class FlushPolicy {
  public:
    // What the Secondary lags behind for the sake of larger batches.
    static constexpr BootClock::duration kMostAge = std::chrono::milliseconds(2);

    // Something was recorded that was not handed on.
    void recorded(Instant now) {
        if (!is_open_) since_ = now;
        is_open_ = true;
    }
    // The mark of an output was: somebody waits for it.
    void marked_output(Instant now) {
        recorded(now);
        output_waits_ = true;
    }
    // The guest waits for an input, so there is time.
    void halted() { is_halted_ = true; }
    void flushed() { *this = FlushPolicy(); }

    // At a landmark.
    [[nodiscard]] bool is_due(Instant now) const {
        return is_open_ && (output_waits_ || is_halted_ || now - since_ >= kMostAge);
    }

  private:
    bool is_open_ = false;
    bool output_waits_ = false;
    bool is_halted_ = false;
    Instant since_{};
};

// How much of its time the vCPU runs, so that the Secondary keeps up: cut in small steps while the
// lag is above kTooMuchLag, given back in small steps while it is below kGoodLag. One thread.
class Throttle {
  public:
    static constexpr BootClock::duration kTooMuchLag = std::chrono::seconds(1);
    static constexpr BootClock::duration kGoodLag = std::chrono::milliseconds(100);
    static constexpr BootClock::duration kStepEvery = std::chrono::milliseconds(100);
    static constexpr std::uint32_t kStepPercent = 5;
    static constexpr std::uint32_t kLeastPercent =
        10;  // A guest that stands still catches up with nothing.

    // The lag as of `now`; at most one step each kStepEvery.
    void observe(BootClock::duration lag, Instant now);
    // How many percent of the time the vCPU may run.
    [[nodiscard]] std::uint32_t duty_percent() const { return duty_percent_; }
    [[nodiscard]] bool is_throttled() const { return duty_percent_ < 100; }

  private:
    std::uint32_t duty_percent_ = 100;
    Instant stepped_at_{};
};

}  // namespace ftvmm::ftlink
