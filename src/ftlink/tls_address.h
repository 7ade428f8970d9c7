// Where a host is reached, and how long that may take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ftvmm::ftlink {

// How long anything may take, on both ends.
struct TlsPatience {
    std::chrono::milliseconds connect{2000};
    std::chrono::milliseconds handshake{5000};
    // Bytes that the other host's kernel does not acknowledge for so long end the connection.
    // Losing a peer is the detector's business and takes less; this only frees what is left of it.
    std::chrono::milliseconds unacknowledged{5000};
};

// Where a host is reached: an address, as no name server is asked.
struct TlsAddress {
    std::string ip;
    std::uint16_t port = 0;
};

}  // namespace ftvmm::ftlink
