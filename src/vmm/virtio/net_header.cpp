#include "vmm/virtio/net_header.h"

#include <algorithm>

#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

// Fields (virtio 1.2, 5.1.6).
constexpr std::size_t kFlags = 0;
constexpr std::size_t kGsoType = 1;
constexpr std::size_t kHeaderLength = 2;
constexpr std::size_t kGsoSize = 4;
constexpr std::size_t kChecksumStart = 6;
constexpr std::size_t kChecksumOffset = 8;

constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kDataValid = 2;

constexpr std::uint8_t kGsoNone = 0;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoEcn = 0x80;

bool is_allowed(std::uint8_t gso_type, const NetOffload& offload) {
    if (gso_type == kGsoNone) return true;
    if ((gso_type & kGsoEcn) != 0 && !offload.ecn) return false;
    const int segments = gso_type & ~kGsoEcn;
    return (segments == kGsoTcp4 && offload.tso4) || (segments == kGsoTcp6 && offload.tso6);
}

}  // namespace

// A driver never says that data is valid, and unknown flags are ignored (virtio 1.2, 5.1.6.2). A
// tap says so even where the driver did not take checksums, and then must not (5.1.6.4.1).
std::optional<NetHeader> admit(std::span<const std::byte> frame, const NetOffload& offload,
                               NetWay way) {
    if (frame.size() < kNetHeaderBytes + kEthernetBytes || frame.size() > kMaxFrameBytes) {
        return std::nullopt;
    }
    const auto flags = pci::load_at<std::uint8_t>(frame, kFlags);
    const auto gso_type = pci::load_at<std::uint8_t>(frame, kGsoType);
    const bool needs_checksum = (flags & kNeedsChecksum) != 0;
    if ((needs_checksum && !offload.checksum) || !is_allowed(gso_type, offload)) {
        return std::nullopt;
    }
    const bool is_valid = (flags & kDataValid) != 0 && offload.checksum && way == NetWay::kToGuest;
    NetHeader header{};
    const auto keep = [&](std::size_t at) {
        pci::store_at(std::span<std::byte>(header), at, pci::load_at<std::uint16_t>(frame, at));
    };
    header[kFlags] =
        static_cast<std::byte>((needs_checksum ? kNeedsChecksum : 0) | (is_valid ? kDataValid : 0));
    header[kGsoType] = static_cast<std::byte>(gso_type);
    if (gso_type != kGsoNone) {
        keep(kHeaderLength);
        keep(kGsoSize);
    }
    if (needs_checksum) {
        keep(kChecksumStart);
        keep(kChecksumOffset);
    }
    return header;
}

}  // namespace ftvmm::virtio
