// What both hosts of a pair must agree on before a record goes from one to the other. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/vm_identity.h"
#include "replay/record.h"

namespace ftvmm::ftlink {

enum class LinkRole : std::uint8_t { kPrimary = 1, kSecondary = 2 };

// "Primary".
[[nodiscard]] const char* name_of(LinkRole role);

// One more with each change of frames, messages or what they mean.
inline constexpr std::uint32_t kProtocolVersion = 1;
// Of one text in a Hello or a Refusal, and of either as a whole.
inline constexpr std::size_t kMaxHandshakeText = 256;
inline constexpr std::size_t kMaxHandshakeBytes = 4096;
// Of one Hello: with the link itself and beats beside it, as many as a detector has.
inline constexpr std::size_t kMaxHelloPaths = 6;

// Where a host is reached on a network on which the pair beats besides, both as text:
// "10.77.1.0/24", "10.77.1.11".
struct HelloPath {
    std::string network;
    std::string address;
    bool operator==(const HelloPath&) const = default;
};

// One host's half of a pair. Texts are printable ASCII.
struct Hello {
    std::uint32_t protocol_version = kProtocolVersion;
    std::string build;         // Of ftvmm: its version, and what tells two builds of it apart.
    std::string cpu_identity;  // What must be equal on both hosts for a guest to run on either.
    std::string vm_uuid;
    Generation generation;  // That of the pair.
    // What the Secondary promises with an ack, and the Primary counts on: for so long after its
    // last one it does not go live.
    std::uint32_t dead_after_ms = 0;
    LinkRole role{};
    std::string host;        // As in its certificate.
    std::string machine_id;  // Of the machine below it: /etc/machine-id.
    std::uint64_t memory_bytes = 0;
    replay::Seq
        first_seq;  // The first record that the Primary sends, and that the Secondary lacks.
    // Hosts need not have the same: beats go where both are.
    std::vector<HelloPath> paths{};
    bool operator==(const Hello&) const = default;
};

// The one thing for which a host does not go into a pair, as it sees it.
struct Refusal {
    std::string field;   // "the build of ftvmm".
    std::string mine;    // Of the host that refuses.
    std::string yours;   // Of the other.
    std::string advice;  // What people can do.
    bool operator==(const Refusal&) const = default;
};

// The first thing for which `mine` and `theirs` make no pair. `certified_host` is the name in the
// certificate that came with `theirs`.
[[nodiscard]] std::optional<Refusal> compare(const Hello& mine, const Hello& theirs,
                                             std::string_view certified_host);

// A refusal by this host, and one by the other, as an error here.
[[nodiscard]] Error error_of_own(const Refusal& refusal);
[[nodiscard]] Error error_of_other(const Refusal& refusal);

// `hello` keeps to the limits; an error names the text that does not.
[[nodiscard]] Result<std::vector<std::byte>> encode_hello(const Hello& hello);
// Texts that are too long are cut.
[[nodiscard]] std::vector<std::byte> encode_refusal(const Refusal& refusal);
// Each takes any bytes; an error says what is wrong with them. Of a Hello with another protocol
// version that alone can be relied on.
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> payload);
[[nodiscard]] Result<Refusal> decode_refusal(std::span<const std::byte> payload);

}  // namespace ftvmm::ftlink
