// Beats of one run between two sides: numbers out, numbers in, and what answers prove.
#pragma once

#include <array>
#include <optional>
#include <span>

#include <tl/expected.hpp>

#include "base/clock.h"
#include "base/vm_identity.h"
#include "heartbeat/beat.h"
#include "heartbeat/replay_window.h"

namespace ftvmm::heartbeat {

struct PairIdentity {
    VmUuid vm{};
    Generation generation;
};

// The two directions have a key each, so that no beat can be thrown back at its sender.
struct BeatKeys {
    BeatKey to_peer;
    BeatKey from_peer;
};

// Makes and takes the beats of one pair in one generation. Pure: time is given. One thread.
//
// A beat that is taken proves two things of which only the first is about now: the peer has run
// since this side sent beat `echo`. That is what a release lease may be counted from, and never the
// moment at which the beat came: it may have waited anywhere.
class BeatSession {
  public:
    // How many of one's own beats can still be answered: at 8 paths and 20 beats a second 1.6 s,
    // far more than any lease lasts.
    static constexpr std::size_t kRemembered = 256;

    BeatSession(const PairIdentity& identity, const BeatKeys& keys);

    // The next datagram. `now` is read before it is sent, and never falls. Who is going live
    // answers nothing: an answer is a promise to leave the peer its lease.
    [[nodiscard]] BeatBytes next(Role role, Instant now);
    // What a datagram says, if it is one of the peer's in this generation and was not taken before.
    [[nodiscard]] tl::expected<Beat, Refusal> take(std::span<const std::byte> datagram);

    // When the newest of one's own beats that the peer has answered was sent: the start of one's
    // release lease. Never falls; nothing before the first answer.
    [[nodiscard]] std::optional<Instant> answered_from() const { return answered_from_; }
    // When one's own last answer was made: a Secondary lets the timeout for death pass from here
    // before it goes live without proof. Nothing where none was.
    [[nodiscard]] std::optional<Instant> promised_at() const { return promised_at_; }

  private:
    [[nodiscard]] std::optional<Refusal> refusal_of(const Beat& beat) const;

    PairIdentity identity_;
    BeatKeys keys_;
    BeatNumber sent_;                             // The last of one's own.
    BeatNumber answered_;                         // The newest of them that was answered.
    std::array<Instant, kRemembered> sent_at_{};  // By number modulo the size.
    ReplayWindow window_;
    std::optional<Instant> answered_from_;
    std::optional<Instant> promised_at_;
};

}  // namespace ftvmm::heartbeat
