// When a network card tells its driver what was sent.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::machine {

// The driver wants to know what was sent only to free it, and looks by itself at every frame that
// it gets or sends. So the word waits for company: a frame and its answer then cost one interrupt,
// not two. It waits about as long as a sender can go on without: Linux sizes what a connection may
// have unsent by a millisecond of its pace or two frames (tcp_small_queue_check()), and an
// unconnected sender has at least 6 times kMostBytes (net.core.wmem_default).
//
// Pure, in guest time. The machine owns one per card.
class TransmitHold {
  public:
    static constexpr std::chrono::milliseconds kLongest{2};
    static constexpr std::uint32_t kMostFrames = 16;
    static constexpr std::uint64_t kMostBytes = 32768;

    struct State {
        std::uint32_t frames = 0;
        std::uint64_t bytes = 0;
        std::int64_t since_ns = 0;  // When the first of them was sent; 0 without one.

        bool operator==(const State&) const = default;
    };

    TransmitHold() = default;
    // Refuses a state that no sequence of calls can lead to.
    static Result<TransmitHold> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // A frame was sent.
    void add(std::size_t bytes, GuestTime now);
    // Whether the driver is to be told now; then nothing is held any more.
    [[nodiscard]] bool take_due(GuestTime now);
    // When take_due() is true by the time alone; nothing where nothing is held.
    [[nodiscard]] std::optional<GuestTime> deadline() const;
    void reset() { state_ = {}; }

  private:
    explicit TransmitHold(const State& state) : state_(state) {}

    State state_;
};

}  // namespace ftvmm::machine
