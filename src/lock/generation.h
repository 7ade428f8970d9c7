// Who owns a term: claims, and the files gen-<n> that they become. docs/generations.md
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "base/vm_identity.h"

namespace ftvmm::lock {

// What tells a claim from every other. It lives in the memory of the process that made it and in
// its files: a process that begins anew has none of before.
using Nonce = std::array<std::uint8_t, 16>;
[[nodiscard]] Nonce random_nonce(Entropy& entropy);

// A side's bid for one generation. Written whole and kept by the storage before it is linked, so a
// gen-<n> that can be seen is whole, and never changes.
struct Claim {
    VmUuid vm{};
    Generation generation;  // The one that it is a bid for; not 0.
    Nonce nonce{};
    std::string host;     // For people, like the next: at most kMaxText printable characters.
    std::string boot_id;  // Of the host's kernel, so that a run can be found in its logs.

    bool operator==(const Claim&) const = default;

    static constexpr std::size_t kMaxText = 255;
};

[[nodiscard]] std::string encode_claim(const Claim& claim);
// Any bytes may be given.
[[nodiscard]] Result<Claim> decode_claim(std::string_view text);

// "gen-7": the owner's claim under the name that all look for.
[[nodiscard]] std::string generation_file(Generation generation);
// "claim-7-" and its nonce: no two claims have one name.
[[nodiscard]] std::string claim_file(const Claim& claim);

// That the owner of a generation lives: written again and again, each time with the next beat.
struct OwnerRecord {
    VmUuid vm{};
    Generation generation;
    Nonce nonce{};  // Of the run that writes it.
    std::uint64_t beat = 0;
    // The VM has shut down, and all that it put out has left: this run never acts again.
    bool ended = false;

    bool operator==(const OwnerRecord&) const = default;
};

// "owner-7": that of the owner of generation 7. Nobody else ever writes it: a storage that holds
// something for a host that died (a delegation of NFSv4) would let its successor wait for that.
[[nodiscard]] std::string owner_record_file(Generation generation);
[[nodiscard]] std::string encode_owner_record(const OwnerRecord& record);
// Any bytes may be given.
[[nodiscard]] Result<OwnerRecord> decode_owner_record(std::string_view text);

}  // namespace ftvmm::lock
