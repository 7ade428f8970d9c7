// Everything that reaches the guest from outside. There is no other way in.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/clock.h"

namespace ftvmm::replay {

// The guest's two consoles: the 16550 at COM1 and virtio's.
enum class ConsolePort : std::uint8_t { kSerial, kVirtio };

namespace input {

// Guest time is now `now`: it never falls. Timers that are due expire.
struct Time {
    GuestTime now;
    bool operator==(const Time&) const = default;
};
// The time of day, once, at power-on.
struct WallClock {
    std::chrono::sys_time<std::chrono::nanoseconds> at;
    bool operator==(const WallClock&) const = default;
};
// Typed into a console.
struct ConsoleBytes {
    std::span<const std::byte> bytes;
    ConsolePort port = ConsolePort::kSerial;
};
// A frame for card `nic`, the 12-byte virtio_net_hdr of its host first.
struct Packet {
    std::uint32_t nic = 0;
    std::span<const std::byte> frame;
};
// The end of output::DiskRequest `id` of disk `disk`; `data` is what a read found.
struct DiskCompletion {
    std::uint32_t disk = 0;
    std::uint64_t id = 0;
    bool ok = false;
    std::span<const std::byte> data;
};
// The answer to output::EntropyRequest `id`.
struct Entropy {
    std::uint64_t id = 0;
    std::span<const std::byte> bytes;
};
// Somebody asks the guest to shut down.
struct PowerButton {
    bool operator==(const PowerButton&) const = default;
};

}  // namespace input

// Views: what they point to outlives the call that they are given to, and no more.
using Input = std::variant<input::Time, input::WallClock, input::ConsoleBytes, input::Packet,
                           input::DiskCompletion, input::Entropy, input::PowerButton>;

// One word for people: "packet".
[[nodiscard]] const char* name_of(const Input& input);

}  // namespace ftvmm::replay
