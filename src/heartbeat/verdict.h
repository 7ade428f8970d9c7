// What a side of a pair knows of the other, as values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/strong_id.h"

namespace ftvmm::heartbeat {

// A way on which the peer is heard, counted from 0: a network of the beats, or the log's
// connection.
using PathId = StrongId<struct PathTag, std::uint32_t>;

struct PathSilence {
    PathId path;
    // By one's own clock; counted anew after one was stopped.
    BootClock::duration silent_for{};
    bool operator==(const PathSilence&) const = default;
};

namespace verdict {

// The peer is heard again.
struct Alive {
    bool operator==(const Alive&) const = default;
};
// Nothing on any path for the first timeout. Nothing is to be done yet but to get ready.
struct Suspect {
    std::vector<PathSilence> paths;
    bool operator==(const Suspect&) const = default;
};
// Nothing on any path for the second timeout: off to the election. The peer may yet live.
struct Dead {
    std::vector<PathSilence> paths;
    bool operator==(const Dead&) const = default;
};
// The peer's host answers that nobody is there, and no path says otherwise. No proof: only the
// release lease or a proof lets anyone act on it before Dead.
struct ProcessGone {
    std::vector<PathId> refused_by;
    bool operator==(const ProcessGone&) const = default;
};
// This side did not run for so long: the peer may have given it up. It says nothing about the peer,
// takes back a Suspect, and gives the peer its full time again.
struct Stopped {
    BootClock::duration gap{};
    bool operator==(const Stopped&) const = default;
};

}  // namespace verdict

using Verdict = std::variant<verdict::Alive, verdict::Suspect, verdict::Dead, verdict::ProcessGone,
                             verdict::Stopped>;

// One sentence, as "the peer is silent on path 0 for 412 ms and on path 1 for 430 ms: dead".
[[nodiscard]] std::string describe(const Verdict& verdict);

}  // namespace ftvmm::heartbeat
