// When a Secondary that has lost its Primary may ask for the VM.
#pragma once

#include <optional>

#include "base/clock.h"
#include "pair/beats.h"

namespace ftvmm::pair {

// Pure. What the Primary may take for a promise of this host has to end first, whatever anybody
// says of the Primary; only the Primary itself can let this host off. That is for safety. A Primary
// that still beats has lost the link alone: it is to go on where it can, so it is left time to say
// so. That is for the clients, and has an end, as beats do not tell whether a guest runs.
struct TakeoverWait {
    Instant began;                       // The link was lost before this.
    std::optional<Instant> promised_at;  // When the last promise was made, if one was.
    BootClock::duration dead_after{};
    bool is_freed = false;  // The Primary has shut its gate for good, and said so.

    [[nodiscard]] bool is_over(Instant now, bool primary_is_heard) const {
        if (is_freed) return true;
        if (promised_at && now < *promised_at + dead_after) return false;
        return !primary_is_heard || now >= began + kStuckAfterDeaths * dead_after;
    }
};

}  // namespace ftvmm::pair
