// When a silent peer is suspect, and when it is dead: docs/heartbeat.md. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "heartbeat/verdict.h"

namespace ftvmm::heartbeat {

// More ways between two hosts are not built; each costs a datagram a beat.
inline constexpr std::size_t kMaxPaths = 8;

struct Timeouts {
    std::chrono::milliseconds beat{50};      // From one beat to the next.
    std::chrono::milliseconds suspect{200};  // All paths silent for so long.
    std::chrono::milliseconds dead{400};  // The same on both sides: the release lease rests on it.
    std::chrono::milliseconds own_gap{200};  // Not run for longer: "I was stopped".

    // Those that go with a timeout for death of 200 ms or more.
    [[nodiscard]] static Timeouts of(std::chrono::milliseconds dead);

    bool operator==(const Timeouts&) const = default;
    // Why these can not be used: which one is too short or too long beside which.
    [[nodiscard]] Result<void> check() const;
};

// Judges the peer by when it was heard. It is told when something came from the peer, on any path,
// and ticks at least once a beat and at deadline(): all that came before is told before the tick.
// Verdicts come out of ticks alone, each once, when it is new.
//
// state    at a tick                                          next     verdict
// any      last tick more than own_gap ago                    as below Stopped, first of all
// suspect  last tick more than own_gap ago                    alive
// other    something was heard since the last tick            alive    Alive, if it was not alive
// alive    every path silent for `suspect`                    suspect  Suspect
// alive,   a path refuses, and every other path refuses       gone     ProcessGone
// suspect  too or is silent for `suspect`
// not dead every path silent for `dead`                       dead     Dead
//
// A path is silent since it was heard last, or since this side began to run if that is later.
// One thread; no time but what it is given.
class DetectorFsm {
  public:
    // `paths` from 1 to kMaxPaths; timeouts that pass their check. The peer has its full time from
    // `now` on.
    DetectorFsm(std::size_t paths, const Timeouts& timeouts, Instant now);

    // Something that only the peer can have sent came on `path` at `at`: a beat, or a piece of the
    // log or of what answers it.
    void heard(PathId path, Instant at);
    // The peer's host says that nobody takes what comes on `path`: a port that nobody has, a closed
    // or refused connection. Holds until something is heard on it. Means nothing on a path on which
    // the peer was never heard: it may be yet to begin, or somebody in between may refuse for it.
    void refused(PathId path);
    // What is new at `now`, which never falls.
    [[nodiscard]] std::vector<Verdict> tick(Instant now);

    // When the next verdict is due if nothing is heard, nor refused; after all of them
    // Instant::max().
    [[nodiscard]] Instant deadline() const;
    // How long each path has been silent.
    [[nodiscard]] std::vector<PathSilence> silences(Instant now) const;

  private:
    enum class State : std::uint8_t { kAlive, kSuspect, kGone, kDead };

    struct Path {
        Instant heard_at;
        bool refuses = false;
    };

    [[nodiscard]] Path& at(PathId path);
    [[nodiscard]] Instant silent_since(const Path& path) const;
    [[nodiscard]] Instant all_silent_since() const;
    [[nodiscard]] bool is_gone(Instant now) const;
    [[nodiscard]] std::vector<PathId> refusing() const;

    Timeouts timeouts_;
    std::vector<Path> paths_;
    State state_ = State::kAlive;
    Instant ticked_at_;
    Instant runs_since_;        // The start, or the end of the last own gap.
    bool heard_since_ = false;  // Since the last tick.
};

}  // namespace ftvmm::heartbeat
