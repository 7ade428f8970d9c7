// What a log holds: every input at its landmark, and what else a replay must know or can check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/strong_id.h"
#include "replay/exit_facts.h"
#include "replay/input.h"
#include "replay/landmark.h"

namespace ftvmm::replay {

// The number of a record in its log, from 0, without gaps.
using Seq = StrongId<struct SeqTag>;

namespace record {

// The inputs that point to bytes, with these bytes.
struct ConsoleBytes {
    std::vector<std::byte> bytes;
    ConsolePort port = ConsolePort::kSerial;
    bool operator==(const ConsoleBytes&) const = default;
};
struct Packet {
    std::uint32_t nic = 0;
    std::vector<std::byte> frame;
    bool operator==(const Packet&) const = default;
};
struct DiskCompletion {
    std::uint32_t disk = 0;
    std::uint64_t id = 0;
    bool ok = false;
    std::vector<std::byte> data;
    bool operator==(const DiskCompletion&) const = default;
};
struct Entropy {
    std::uint64_t id = 0;
    std::vector<std::byte> bytes;
    bool operator==(const Entropy&) const = default;
};

// A life begins: a new machine, at landmark zero, that was given this seed. Outputs count from zero
// again too.
struct PowerOn {
    std::vector<std::byte> rng_seed;
    bool operator==(const PowerOn&) const = default;
};
// What GuestMachine::take_checkpoint() gave. The record's landmark is the one that it made.
struct Checkpoint {
    std::vector<std::byte> state;
    bool operator==(const Checkpoint&) const = default;
};
// An output left the guest here: the `number`-th since power-on, from 1. It may be released once
// this record is safe. What left is not said: a replay makes it again.
struct OutputMark {
    std::uint64_t number = 0;
    bool operator==(const OutputMark&) const = default;
};
// The guest has come this far and nothing else happened, so a follower may run on to here.
struct Mark {
    std::uint64_t digest = 0;  // All of GuestMachine::digest().
    bool operator==(const Mark&) const = default;
};
// GuestMachine::memory_hash() here.
struct Audit {
    std::uint64_t memory_hash = 0;
    bool operator==(const Audit&) const = default;
};

enum class EndKind : std::uint8_t {
    kPoweredOff,   // By the guest itself.
    kReset,        // The guest wants to start anew: a PowerOn follows.
    kTripleFault,  // Its processor shut down: a PowerOn follows.
    kStopped,      // Its user took the power.
    kCrashed,      // The host could not go on.
};
// A life ends.
struct End {
    EndKind kind{};
    std::uint64_t digest = 0;  // All of GuestMachine::digest().
    bool operator==(const End&) const = default;
};

// The exit that led to this landmark, for a replay to hold its own against. Only where the user
// asked for it: at the landmark of each exit, the first record there.
struct Trace {
    ExitFacts exit;
    bool operator==(const Trace&) const = default;
};

}  // namespace record

// First Input's alternatives, in their order. The index is what a log holds: docs/log-format.md.
using Body = std::variant<input::Time, input::WallClock, record::ConsoleBytes, record::Packet,
                          record::DiskCompletion, record::Entropy, input::PowerButton,
                          record::PowerOn, record::Checkpoint, record::OutputMark, record::Mark,
                          record::Audit, record::End, record::Trace>;
inline constexpr std::size_t kRecordKinds = std::variant_size_v<Body>;

struct Record {
    Landmark at;
    // The low bits of GuestMachine::digest() at `at`. The digest is a running one, so guests that
    // differ once go on to differ, and few bits of it are enough.
    std::uint16_t digest = 0;
    Body body;
    bool operator==(const Record&) const = default;
};

// Records with consecutive numbers.
struct Batch {
    Seq first;
    std::vector<Record> records;
    bool operator==(const Batch&) const = default;
};

[[nodiscard]] constexpr std::uint16_t short_digest(std::uint64_t digest) {
    return static_cast<std::uint16_t>(digest);
}

// A copy of `input` with what it points to.
[[nodiscard]] Body body_of(const Input& input);
// The input that `body` is, if it is one: a view of it.
[[nodiscard]] std::optional<Input> input_of(const Body& body);
// Whether a PowerOn follows in the same log.
[[nodiscard]] bool is_reset(record::EndKind kind);

// A word or two for people: "output mark". `kind` is an index of Body.
[[nodiscard]] const char* name_of_kind(std::size_t kind);
[[nodiscard]] const char* name_of(const Body& body);
// "exit 812", "exit 812, checkpoint 3".
[[nodiscard]] std::string describe(Landmark landmark);
// One line without its bytes: "packet of 72 bytes for card 0", "time 12.345678 ms".
[[nodiscard]] std::string describe(const Body& body);
// "packet of 72 bytes for card 0 at exit 812".
[[nodiscard]] std::string describe(const Record& record);
// "powered off".
[[nodiscard]] const char* name_of(record::EndKind kind);

}  // namespace ftvmm::replay
