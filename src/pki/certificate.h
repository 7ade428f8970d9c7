// The cluster's own authority, and what it certifies: that a key belongs to a host.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ftvmm::pki {

// A certificate and the key that it is about, as PEM texts.
struct Credential {
    std::string certificate;
    std::string key;
};

// Whole seconds of the wall clock, both included.
struct Validity {
    std::chrono::sys_seconds from;
    std::chrono::sys_seconds until;

    // From `now` on for `days`. A little is added in front, for hosts whose clocks are behind.
    static Validity starting(std::chrono::sys_seconds now, std::chrono::days days);
};

inline constexpr std::chrono::days kAuthorityDays{20 * 365};
// A host's key should be replaced before anyone had so long to find it.
inline constexpr std::chrono::days kHostDays{5 * 365};

// Whether `name` can be a host's: a DNS name of small letters, digits and -, parts of up to 63
// between dots, up to 253 in all; no address.
[[nodiscard]] bool is_host_name(std::string_view name);
// Whether `name` can be a cluster's: 1 to 63 of the characters a-z, A-Z, 0-9, -, _ and blank, with
// neither end blank.
[[nodiscard]] bool is_cluster_name(std::string_view name);

// A new authority on a new key (P-256). Two of one name are told apart by a number in their names.
// It certifies hosts and no other authority.
[[nodiscard]] Result<Credential> make_authority(const std::string& cluster, Validity validity);
// A new key for `host`, certified by `authority` for both ends of a connection. Not for longer than
// the authority itself.
[[nodiscard]] Result<Credential> issue(const Credential& authority, const std::string& host,
                                       Validity validity);

}  // namespace ftvmm::pki
