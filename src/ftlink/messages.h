// What the two hosts say to each other besides batches: docs/link.md. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "replay/record.h"

namespace ftvmm::ftlink {

// Counts what the Primary sent on this connection, from 1: the n-th frame behind the handshake and
// the clone. Both sides count for themselves, so it is on the wire in acks alone.
using MessageNumber = StrongId<struct MessageNumberTag>;

// How the Secondary's guest compares with the log.
enum class Verdict : std::uint8_t { kAgrees, kDiverged };

// To the Primary: what the Secondary has. It is also its promise not to go live for `dead_timeout`
// from when it was made, which is not before message `answers` came.
struct Ack {
    replay::Seq
        next_received;  // Every record before it is held by the Secondary, whole and checked.
    replay::Seq next_replayed;  // Every record before it was replayed; not behind next_received.
    MessageNumber answers;      // The newest message that came; 0: none yet.
    GuestTime replayed_time;    // The guest's clock where the Secondary's guest is.
    Verdict verdict = Verdict::kAgrees;
    bool operator==(const Ack&) const = default;
};

enum class ControlKind : std::uint8_t {
    kProbe,    // To the Secondary: nothing but a message to be answered.
    kGoodbye,  // The last message of its sender.
};

// Why somebody leaves.
enum class GoodbyeReason : std::uint8_t {
    // From the Primary: its gate is shut for good, and the Secondary may go live at once, behind
    // all
    // records. From the Secondary: it will never go live.
    kHandsOver,
    // From the Primary: the pair is undone and the Primary goes on; the Secondary never goes live.
    kDetaches,
};

struct Control {
    ControlKind kind = ControlKind::kProbe;
    GoodbyeReason reason{};  // Of a goodbye; else kHandsOver.
    bool operator==(const Control&) const = default;
};

// Each decode takes any bytes; an error says what is wrong with them.
[[nodiscard]] std::vector<std::byte> encode(const Ack& ack);
[[nodiscard]] Result<Ack> decode_ack(std::span<const std::byte> payload);
[[nodiscard]] std::vector<std::byte> encode(const Control& control);
[[nodiscard]] Result<Control> decode_control(std::span<const std::byte> payload);

}  // namespace ftvmm::ftlink
