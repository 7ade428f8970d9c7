// An input on its way to the guest, with what it points to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "node/disk_thread.h"
#include "replay/input.h"

namespace ftvmm::node {

struct OwnedPacket {
    std::uint32_t nic = 0;
    std::vector<std::byte> frame;
};
struct OwnedConsoleBytes {
    std::vector<std::byte> bytes;
    replay::ConsolePort port{};
};
struct OwnedEntropy {
    std::uint64_t id = 0;
    std::vector<std::byte> bytes;
};

using OwnedInput = std::variant<OwnedPacket, OwnedConsoleBytes, DiskDone, OwnedEntropy,
                                replay::input::PowerButton>;

// The input as the machine takes it; a view of `owned`.
[[nodiscard]] replay::Input view_of(const OwnedInput& owned);

}  // namespace ftvmm::node
