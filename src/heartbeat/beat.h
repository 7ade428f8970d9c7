// One beat as a datagram, which nobody but the peer can have made: docs/heartbeat.md. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <tl/expected.hpp>

#include "base/clock.h"
#include "base/strong_id.h"
#include "base/vm_identity.h"

namespace ftvmm::heartbeat {

// The secret of one direction of one pair for one run of its sender: numbers never repeat under it,
// or a beat of the run before would be taken for one of this. Wiped when it goes.
class BeatKey {
  public:
    static constexpr std::size_t kBytes = 32;

    explicit BeatKey(std::span<const std::byte, kBytes> secret);
    BeatKey(const BeatKey&) = default;
    BeatKey& operator=(const BeatKey&) = default;
    ~BeatKey();

    [[nodiscard]] std::span<const std::byte, kBytes> secret() const { return secret_; }

  private:
    std::array<std::byte, kBytes> secret_{};
};

// What a side is as it sends: its own word, for people and for a peer in doubt.
enum class Role : std::uint8_t {
    kPrimary = 1,
    kSecondary = 2,
    kGoingLive = 3,  // A Secondary that asks for the next generation: it answers nothing any more.
};

// Beats of one sender, on all its paths, are numbered from 1 on; 0 is none.
using BeatNumber = StrongId<struct BeatNumberTag>;

struct Beat {
    VmUuid vm{};
    Generation generation;
    Role role = Role::kPrimary;
    BeatNumber number;
    Instant
        sent_at;  // By the sender's CLOCK_BOOTTIME, which has nothing to do with the receiver's.
    BeatNumber echo;  // The newest number that the sender has of the receiver; 0: no answer.

    bool operator==(const Beat&) const = default;
};

// Why a datagram does not count. The order is that of the checks.
enum class Refusal : std::uint8_t {
    kSize,        // It has not the size of a beat.
    kNoBeat,      // It does not begin like one.
    kVersion,     // Of another version of the format.
    kForged,      // Not made with the peer's key, or damaged, or our own thrown back.
    kFields,      // The peer's key, and yet it says what there is not: a defect of the peer.
    kVm,          // Of another VM.
    kGeneration,  // Of another term.
    kUnsent,      // It answers a beat that was never sent.
    kOld,         // Its number is too far behind to be known as new.
    kRepeated,    // Its number was taken before.
};
inline constexpr std::size_t kRefusals = 10;
// "forged".
[[nodiscard]] const char* name_of(Refusal refusal);

inline constexpr std::size_t kBeatBytes = 88;
using BeatBytes = std::array<std::byte, kBeatBytes>;

[[nodiscard]] BeatBytes encode_beat(const Beat& beat, const BeatKey& key);
// Any bytes may be given; nothing is allocated. Refuses up to kFields: the rest is for who knows
// what was there before.
[[nodiscard]] tl::expected<Beat, Refusal> decode_beat(std::span<const std::byte> datagram,
                                                      const BeatKey& key);

}  // namespace ftvmm::heartbeat
