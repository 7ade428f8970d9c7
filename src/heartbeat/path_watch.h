// Which of the paths to the peer work, for people. Pure.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/clock.h"
#include "heartbeat/verdict.h"

namespace ftvmm::heartbeat {

struct PathChange {
    PathId path;
    bool is_silent = false;            // Else it is heard again.
    BootClock::duration silent_for{};  // Of one that is silent.
    bool operator==(const PathChange&) const = default;
};

// A path is silent once nothing came on it for `silent_after`, and until something does. That says
// nothing about the peer: it is a DetectorFsm that does. One thread.
class PathWatch {
  public:
    PathWatch(std::size_t paths, BootClock::duration silent_after);

    void heard(PathId path) { paths_.at(path.value()).was_heard = true; }
    // What is new, given for how long each path has been silent.
    [[nodiscard]] std::vector<PathChange> look(std::span<const PathSilence> silences);

  private:
    struct Path {
        bool was_heard = false;  // Since the last look.
        bool is_silent = false;
    };

    BootClock::duration silent_after_;
    std::vector<Path> paths_;
};

}  // namespace ftvmm::heartbeat
