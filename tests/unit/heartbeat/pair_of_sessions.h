// Two sides that have agreed on keys.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "heartbeat/beat_session.h"

namespace ftvmm::heartbeat::testing {

inline BeatKey key_of(unsigned char seed) {
    std::array<std::byte, BeatKey::kBytes> secret{};
    std::ranges::generate(secret, [&] { return static_cast<std::byte>(seed++); });
    return BeatKey(secret);
}

inline PairIdentity some_identity() {
    PairIdentity identity;
    identity.vm = {0x0b, 0x9a, 0xd6, 0xa5, 0x9b, 0x5c, 0x4d, 0x8c,
                   0x8d, 0x3a, 0x5f, 0x1b, 0x64, 0xa5, 0x4a, 0x67};
    identity.generation = Generation(7);
    return identity;
}

inline BeatKeys first_keys() {
    return {key_of(0), key_of(100)};
}
inline BeatKeys second_keys() {
    return {key_of(100), key_of(0)};
}

}  // namespace ftvmm::heartbeat::testing
