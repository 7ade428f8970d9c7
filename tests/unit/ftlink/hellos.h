// Two hosts that make a pair.
#pragma once

#include "ftlink/handshake.h"

namespace ftvmm::ftlink::testing {

// Of host a.
inline Hello primary() {
    return {.build = "0.1.0",
            .cpu_identity = "AuthenticAMD 25/1/1",
            .vm_uuid = "0b0c",
            .generation = Generation(7),
            .dead_after_ms = 400,
            .role = LinkRole::kPrimary,
            .host = "a",
            .machine_id = "aaaa",
            .memory_bytes = 1 << 30,
            .first_seq = replay::Seq(812)};
}

// Of host b.
inline Hello secondary() {
    Hello hello = primary();
    hello.role = LinkRole::kSecondary;
    hello.host = "b";
    hello.machine_id = "bbbb";
    return hello;
}

}  // namespace ftvmm::ftlink::testing
