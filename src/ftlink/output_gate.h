// Where outputs wait until it is safe that the world sees them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/clock.h"
#include "base/durations.h"
#include "replay/output.h"
#include "replay/record.h"

namespace ftvmm::ftlink {

// How long a promise is worth to the one it was given to. Its giver waits longer by a margin for
// the rates of two clocks: this goes with a dead_timeout of 400 ms.
struct ReleaseLeases {
    BootClock::duration peer = std::chrono::milliseconds(300);

    // Those that go with another one.
    static ReleaseLeases of(BootClock::duration dead_after) { return {dead_after / 4 * 3}; }
};

// Full from either on. What one stop of the guest puts out is taken beyond it, so what is held is
// at most this and the outputs of one stop.
struct GateLimits {
    std::size_t outputs = 4096;
    std::size_t bytes = std::size_t{16} << 20U;
};

// Outputs wait here, each with the number of its own mark, and leave in the order in which they
// came:
//
//   state  | an output leaves when
//   kShut  | never
//   kGated | its mark was acked, the peer's lease holds, and that of the storage
//   kOpen  | the storage's lease holds
//
// The peer's lease counts from answered(), and each change of state begins without one: what an
// earlier state was told counts for nothing, so an ack that comes late opens nothing. The storage's
// lease is this host's own, over all states. The guest never waits for an output to leave, unless
// the gate is full. One thread at a time; instants are CLOCK_BOOTTIME's.
class OutputGate {
  public:
    enum class State : std::uint8_t { kShut, kGated, kOpen };

    struct Released {
        replay::Seq mark;
        replay::Output output;
    };

    // Shut, until it is told otherwise.
    explicit OutputGate(const ReleaseLeases& leases = {}, const GateLimits& limits = {});

    // `mark` is the record that stands for `output` alone, and none is behind one that came before.
    // Where nobody records, any number that does not fall. Never refuses.
    void push(replay::Seq mark, replay::Output output, Instant now);
    // The guest has to stand still.
    [[nodiscard]] bool is_full() const;

    // The peer is lost, or this host was stopped for a while: nothing leaves until pair() or
    // open().
    void shut();
    // There is a Secondary, which holds every record before `next_received`.
    void pair(replay::Seq next_received);
    // This host owns the VM alone.
    void open();

    // While gated, else without effect. The Secondary holds every record before `next_received`;
    // one that is lower than it was told before changes nothing.
    void ack(replay::Seq next_received);
    // While gated, else without effect. The Secondary answered a message, or a beat, that was sent
    // at `sent_at`: taken before it was handed to the kernel. NOT when the answer came.
    void answered(Instant sent_at);
    // Until then this host owns the VM, whatever others do: what storage says (lock's lease). For
    // ever, until it is told otherwise: where no other host can become the Primary.
    void storage_holds(Instant until) { storage_until_ = until; }

    // The output that may leave now, if there is one: one at a time, because each is released by a
    // clock read right before. `now` was read after the last thing that could take long; the caller
    // performs the output at once.
    [[nodiscard]] std::optional<Released> take_released(Instant now);
    // Whether take_released() would give one.
    [[nodiscard]] bool has_released(Instant now) const;

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] std::size_t outputs() const { return held_.size(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    // The mark of the newest output that waits, and since when the oldest does.
    [[nodiscard]] std::optional<replay::Seq> newest_mark() const;
    // The highest that ever came: for an output that nobody records.
    [[nodiscard]] replay::Seq last_mark() const { return last_mark_; }
    [[nodiscard]] std::optional<Instant> waits_since() const;
    // Whether the leases hold: what was released earlier, and has not left yet, still may. False
    // while shut.
    [[nodiscard]] bool holds(Instant now) const;
    // Nothing leaves from then on, if no answer and no renewal comes; nothing where no lease was
    // given, or while shut.
    [[nodiscard]] std::optional<Instant> lease_end() const;
    // Of what was released.
    [[nodiscard]] const Durations& hold_times() const { return hold_times_; }

  private:
    struct Held {
        Released output;
        Instant since;
        std::size_t bytes = 0;
    };
    void enter(State state);

    ReleaseLeases leases_;
    GateLimits limits_;
    State state_ = State::kShut;
    replay::Seq next_received_;          // While gated.
    std::optional<Instant> peer_until_;  // While gated.
    Instant storage_until_ = Instant::max();
    std::deque<Held> held_;
    std::size_t bytes_ = 0;
    replay::Seq last_mark_;
    Durations hold_times_;
};

// What holding `output` costs.
[[nodiscard]] std::size_t bytes_of(const replay::Output& output);

}  // namespace ftvmm::ftlink
