// Everything that leaves the guest. There is no other way out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/memory_pieces.h"
#include "replay/input.h"

namespace ftvmm::replay {

namespace output {

// Printed on a console.
struct ConsoleBytes {
    std::vector<std::byte> bytes;
    ConsolePort port = ConsolePort::kSerial;
};
// A frame sent by card `nic`, its 12-byte virtio_net_hdr first.
struct Packet {
    std::uint32_t nic = 0;
    std::vector<std::byte> frame;
};
// What the driver of card `nic` takes on itself of the frames it is given.
struct NicOffload {
    std::uint32_t nic = 0;
    bool checksum = false;
    bool tso4 = false;
    bool tso6 = false;
    bool ecn = false;
    bool operator==(const NicOffload&) const = default;
};

enum class DiskOperation : std::uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

// What disk `disk` is to do, in bytes: answered by one input::DiskCompletion, in any order. A flush
// makes durable every write that was completed before it.
struct DiskRequest {
    std::uint32_t disk = 0;
    std::uint64_t id = 0;  // Never used twice on one disk.
    DiskOperation operation{};
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    SharedBytes data;  // `length` bytes for a write, else none.
    // In a machine whose disks reach its memory, where the `length` bytes of a read or write lie:
    // then `data` and the completion's have none. Never of one that is recorded or followed.
    MemoryPieces place;
};
// Random bytes that the guest asks for: answered by one input::Entropy.
struct EntropyRequest {
    std::uint64_t id = 0;
    std::uint32_t length = 0;
};

}  // namespace output

using Output = std::variant<output::ConsoleBytes, output::Packet, output::NicOffload,
                            output::DiskRequest, output::EntropyRequest>;

}  // namespace ftvmm::replay
