#include "heartbeat/path_watch.h"

#include <utility>

namespace ftvmm::heartbeat {

PathWatch::PathWatch(std::size_t paths, BootClock::duration silent_after)
    : silent_after_(silent_after), paths_(paths) {}

std::vector<PathChange> PathWatch::look(std::span<const PathSilence> silences) {
    std::vector<PathChange> changes;
    for (const PathSilence& silence : silences) {
        Path& path = paths_.at(silence.path.value());
        // After a stop of one's own the silence begins anew: that is no sign of life.
        const bool was_heard = std::exchange(path.was_heard, false);
        if (path.is_silent && was_heard) {
            path.is_silent = false;
            changes.push_back({silence.path, false, {}});
        } else if (!path.is_silent && silence.silent_for >= silent_after_) {
            path.is_silent = true;
            changes.push_back({silence.path, true, silence.silent_for});
        }
    }
    return changes;
}

}  // namespace ftvmm::heartbeat
