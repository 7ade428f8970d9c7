// What a link is made with, and what may become of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "ftlink/flow_control.h"
#include "ftlink/handshake.h"
#include "ftlink/refusal_log.h"
#include "ftlink/tls_address.h"
#include "pki/pki_folder.h"

namespace ftvmm::ftlink {

struct LinkOptions {
    enum class Way : std::uint8_t { kListens, kConnects };

    Hello hello{};
    pki::HostIdentity identity{};
    std::vector<std::string> peer_hosts{};  // Any of these, as in their certificates.
    Way way = Way::kListens;
    TlsAddress address{};  // Where this host listens, port 0: at any; or where the other does.
    TlsPatience patience{};
    // From the end of TLS's handshake until both have agreed to be a pair.
    std::chrono::milliseconds greeting{2000};
    // Until the other host is there, while this one listens.
    std::chrono::milliseconds await_peer{30000};
    LinkLimits limits{};
    // Called on the link's own thread.
    LogLine log{};
};

// Why there is no link any more, or never was.
struct LinkLost {
    Error why;
    // The other host's kernel said so: the host lives. It proves nothing about the VM's process
    // there.
    bool host_answers = false;
};

}  // namespace ftvmm::ftlink
