// Where a replay is not what the log says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "replay/landmark.h"
#include "replay/record.h"

namespace ftvmm::replay {

enum class DivergenceKind : std::uint8_t {
    kDigest,      // The guest came another way.
    kMemory,      // Its memory differs.
    kNeedsTime,   // It reads a clock where the log holds no time for it.
    kHalted,      // It waits where the log holds nothing that wakes it.
    kOvershot,    // It ran past a landmark of the log.
    kEnded,       // It ended where the log goes on, or in another way.
    kWentOn,      // It goes on where the log ends.
    kCrashed,     // The processor or KVM gave up where the log goes on.
    kCheckpoint,  // A checkpoint does not lead to where it was taken.
    kOutput,      // What leaves it, left elsewhere.
    kExit,        // It exits otherwise than was traced, by the same digest.
};

// A record whose digest the guest had.
struct Agreement {
    Landmark at;
    Seq seq;
    bool operator==(const Agreement&) const = default;
};

struct Divergence {
    DivergenceKind kind{};
    Landmark where;         // Of the guest, as it was found out.
    Seq seq;                // The record that it was held against.
    std::string log_says;   // That record, as "packet of 72 bytes for card 0 at exit 812".
    std::string guest_did;  // As "the guest halts at exit 810".
    // The last one before it in this life: the first exit that differs lies behind its landmark, if
    // an exit differs, and not behind `where`.
    std::optional<Agreement> agreed{};
};

// "digest".
[[nodiscard]] const char* name_of(DivergenceKind kind);
// One paragraph: what differs, and where.
[[nodiscard]] std::string describe(const Divergence& divergence);
// One sentence: between which landmarks the guest first came another way, as far as the log tells.
[[nodiscard]] std::string describe_first_difference(const Divergence& divergence);

}  // namespace ftvmm::replay
