// What goes over the link while a running Primary is copied: docs/link.md, "A clone". Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/vm_identity.h"
#include "ftlink/frame.h"
#include "lock/generation.h"
#include "replay/record.h"
#include "vmm/machine/memory_chunk.h"

namespace ftvmm::pair {

namespace clone_message {

// To the Secondary, first: how much memory the guest has.
struct Begins {
    std::uint64_t pages = 0;
    bool operator==(const Begins&) const = default;
};
// To the Secondary: a round begins, of about so many pages. For people who look on.
struct Round {
    std::uint32_t number = 0;  // From 1.
    std::uint64_t pages = 0;
    bool operator==(const Round&) const = default;
};
// To the Secondary, last: all pages and all of the state were sent. The log begins at `first`.
struct Ends {
    std::uint64_t state_bytes = 0;  // Of the message,
    std::uint64_t bulk_bytes = 0;   // and of what lies beside it.
    std::uint64_t pages = 0;        // That were sent, those that were sent twice counted twice.
    replay::Seq first;
    bool operator==(const Ends&) const = default;
};
// To the Primary: the machine stands there, and follows.
struct Stands {
    bool operator==(const Stands&) const = default;
};
// To the Secondary, which stands: from here on it takes over when the Primary is lost, by bidding
// for the generation behind this one, which is the pair's. It was won with a claim of that nonce.
struct Protected {
    Generation generation;
    lock::Nonce nonce{};
    bool operator==(const Protected&) const = default;
};
// To the Primary, in answer to that: the storage here is the same, and keeps the claim to bid with.
struct Bids {
    bool operator==(const Bids&) const = default;
};
// To the Primary: the machine can not be made, or can never go live, and why.
struct Failed {
    std::string why;
    bool operator==(const Failed&) const = default;
};

}  // namespace clone_message

using CloneMessage = std::variant<clone_message::Begins, clone_message::Round, clone_message::Ends,
                                  clone_message::Stands, clone_message::Failed,
                                  clone_message::Protected, clone_message::Bids>;

[[nodiscard]] ftlink::OutgoingFrame make_frame(const CloneMessage& message);
// Any bytes may be given.
[[nodiscard]] Result<CloneMessage> decode_clone_message(std::span<const std::byte> payload);

// Pages: a chunk's header and its data.
[[nodiscard]] ftlink::OutgoingFrame make_frame(const machine::ChunkCodec::Chunk& chunk);
struct PagesView {
    machine::ChunkHeader header;
    std::span<const std::byte> data;
};
// Of a guest with so much memory.
[[nodiscard]] Result<PagesView> decode_pages(std::span<const std::byte> payload,
                                             std::uint64_t memory_pages);

// A piece of the state: of its message first, then of the bulk.
inline constexpr std::size_t kMostStatePiece = std::size_t{1} << 20U;
[[nodiscard]] ftlink::OutgoingFrame make_state_frame(std::span<const std::byte> piece);

}  // namespace ftvmm::pair
