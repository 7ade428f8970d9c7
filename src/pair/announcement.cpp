#include "pair/announcement.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace ftvmm::pair {

namespace {

// virtio_net_hdr: no offload is asked for.
constexpr std::size_t kHeaderBytes = 12;
// The least that Ethernet carries, without its checksum.
constexpr std::size_t kFrameBytes = 60;

}  // namespace

replay::Output announcement(std::uint32_t nic, const std::array<std::uint8_t, 6>& mac) {
    std::vector<std::uint8_t> frame(kHeaderBytes);
    const auto add = [&frame](auto... bytes) {
        (frame.push_back(static_cast<std::uint8_t>(bytes)), ...);
    };
    const auto add_mac = [&] { frame.insert(frame.end(), mac.begin(), mac.end()); };
    add(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    add_mac();
    add(0x80, 0x35);              // Of RARP:
    add(0, 1, 8, 0, 6, 4, 0, 3);  // Ethernet, IPv4, their lengths, a request.
    add_mac();
    add(0, 0, 0, 0);
    add_mac();
    add(0, 0, 0, 0);
    frame.resize(kHeaderBytes + kFrameBytes);
    replay::output::Packet packet{nic, {}};
    packet.frame.resize(frame.size());
    std::ranges::transform(frame, packet.frame.begin(),
                           [](std::uint8_t byte) { return std::byte{byte}; });
    return packet;
}

}  // namespace ftvmm::pair
