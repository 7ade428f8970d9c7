// What tests of the lock's machines answer by hand.
#pragma once

#include <chrono>
#include <optional>
#include <variant>

#include <catch2/catch.hpp>

#include "base/clock.h"
#include "lock/generation.h"
#include "lock/storage.h"

namespace ftvmm::lock {

inline Instant at(int ms) {
    return Instant(std::chrono::milliseconds(ms));
}

inline Claim claim_of(std::uint8_t who, std::uint64_t generation = 8) {
    Claim claim;
    claim.generation = Generation(generation);
    claim.nonce.fill(who);
    claim.host = "host";
    claim.boot_id = "boot";
    return claim;
}

template <class Kind>
Kind asked(const std::optional<Request>& request) {
    REQUIRE(request);
    REQUIRE(std::holds_alternative<Kind>(*request));
    return std::get<Kind>(*request);
}

}  // namespace ftvmm::lock
