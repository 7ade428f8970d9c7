// The header ahead of each frame of a network card: struct virtio_net_hdr (virtio 1.2, 5.1.6),
// which a tap of Linux has too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ftvmm::virtio {

inline constexpr std::size_t kNetHeaderBytes = 12;
inline constexpr std::size_t kEthernetBytes = 14;
// The longest frame: a segment of 64 KiB behind an Ethernet header with a VLAN's tag.
inline constexpr std::size_t kMaxFrameBytes = kNetHeaderBytes + kEthernetBytes + 4 + 65536;

using NetHeader = std::array<std::byte, kNetHeaderBytes>;
// Where num_buffers lies in it, 16 bits.
inline constexpr std::size_t kNetHeaderBuffers = 10;

// What of a frame's work whoever sent it may leave to whoever gets it.
struct NetOffload {
    bool checksum = false;
    bool tso4 = false;  // The three below never come without checksum,
    bool tso6 = false;
    bool ecn = false;  // and this one never without tso4 or tso6.
    bool operator==(const NetOffload&) const = default;
};

enum class NetWay : std::uint8_t { kToGuest, kFromGuest };

// The header with which `frame`, its own header first, may go on; its num_buffers is 0. What means
// nothing is cleared, so that no bytes pass that nobody reads. Nothing where the frame is dropped:
// it is shorter than an Ethernet header or longer than kMaxFrameBytes, or leaves work that
// `offload` does not name. A header can still be wrong about its frame: the tap or the driver
// refuses it then.
std::optional<NetHeader> admit(std::span<const std::byte> frame, const NetOffload& offload,
                               NetWay way);

}  // namespace ftvmm::virtio
