#include "vmm/virtio/net_header.h"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

constexpr NetOffload kNone{};
constexpr NetOffload kAll{.checksum = true, .tso4 = true, .tso6 = true, .ecn = true};
constexpr std::uint8_t kTcp4 = 1;
constexpr std::uint8_t kUdp = 3;
constexpr std::uint8_t kTcp6 = 4;
constexpr std::uint8_t kUdpSegments = 5;
constexpr std::uint8_t kEcn = 0x80;

NetHeader header(std::uint8_t flags, std::uint8_t gso_type, std::uint16_t header_length = 0,
                 std::uint16_t gso_size = 0, std::uint16_t start = 0, std::uint16_t offset = 0) {
    NetHeader bytes{};
    const std::span<std::byte> fields(bytes);
    pci::store_at(fields, 0, flags);
    pci::store_at(fields, 1, gso_type);
    pci::store_at(fields, 2, header_length);
    pci::store_at(fields, 4, gso_size);
    pci::store_at(fields, 6, start);
    pci::store_at(fields, 8, offset);
    return bytes;
}

std::optional<NetHeader> pass(const NetHeader& header, const NetOffload& offload,
                              NetWay way = NetWay::kFromGuest) {
    std::vector<std::byte> frame(60);
    std::ranges::copy(header, frame.begin());
    return admit(frame, offload, way);
}

TEST_CASE("Whole packets pass whatever was negotiated") {
    CHECK(pass(header(0, 0), kNone) == header(0, 0));
    CHECK(pass(header(0, 0), kAll) == header(0, 0));
}

TEST_CASE("Work passes to whoever took it on") {
    const auto checksum = header(1, 0, 0, 0, 34, 16);
    CHECK(pass(checksum, {.checksum = true}) == checksum);
    CHECK_FALSE(pass(checksum, kNone));
    const auto segments = [](std::uint8_t type) { return header(1, type, 54, 1448, 34, 16); };
    CHECK(pass(segments(kTcp4), {.checksum = true, .tso4 = true}) == segments(kTcp4));
    CHECK_FALSE(pass(segments(kTcp4), {.checksum = true, .tso6 = true}));
    CHECK(pass(segments(kTcp6), {.checksum = true, .tso6 = true}) == segments(kTcp6));
    CHECK_FALSE(pass(segments(kTcp6), {.checksum = true, .tso4 = true}));
    CHECK(pass(segments(kTcp4 | kEcn), kAll) == segments(kTcp4 | kEcn));
    CHECK(pass(segments(kTcp6 | kEcn), kAll) == segments(kTcp6 | kEcn));
    CHECK_FALSE(pass(segments(kTcp4 | kEcn), {.checksum = true, .tso4 = true, .tso6 = true}));
}

TEST_CASE("Segments of a kind that nobody offers do not pass") {
    for (const std::uint8_t type : {kUdp, kUdpSegments, std::uint8_t{2}, std::uint8_t{kEcn},
                                    std::uint8_t{kUdp | kEcn}, std::uint8_t{0x41}})
        CHECK_FALSE(pass(header(1, type, 54, 1448), kAll));
}

TEST_CASE("What means nothing is cleared") {
    CHECK(pass(header(0xfc, 0, 1, 2, 3, 4), kAll) == header(0, 0));
    CHECK(pass(header(1, 0, 1, 2, 3, 4), kAll) == header(1, 0, 0, 0, 3, 4));
    CHECK(pass(header(0, kTcp4, 1, 2, 3, 4), kAll) == header(0, kTcp4, 1, 2));
    auto buffers = header(0, 0);
    buffers[kNetHeaderBuffers] = std::byte{7};
    CHECK(pass(buffers, kAll) == header(0, 0));
}

TEST_CASE("Only a driver that takes checksums is told that one is valid") {
    CHECK(pass(header(2, 0), kAll, NetWay::kToGuest) == header(2, 0));
    CHECK(pass(header(2, 0), kNone, NetWay::kToGuest) == header(0, 0));
    CHECK(pass(header(2, 0), kAll, NetWay::kFromGuest) == header(0, 0));
}

TEST_CASE("A frame has an Ethernet header and at most 64 KiB behind it") {
    const auto passes = [](std::size_t size) {
        return admit(std::vector<std::byte>(size), kAll, NetWay::kFromGuest).has_value();
    };
    CHECK_FALSE(passes(0));
    CHECK_FALSE(passes(kNetHeaderBytes + kEthernetBytes - 1));
    CHECK(passes(kNetHeaderBytes + kEthernetBytes));
    CHECK(passes(65566));
    CHECK_FALSE(passes(65567));
}

}  // namespace
}  // namespace ftvmm::virtio
