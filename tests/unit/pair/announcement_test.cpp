#include "pair/announcement.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

TEST_CASE("A card's announcement is a RARP broadcast from its own address") {
    const std::array<std::uint8_t, 6> mac{0x52, 0x54, 0, 1, 2, 3};
    const auto output = announcement(1, mac);
    const auto& packet = std::get<replay::output::Packet>(output);
    CHECK(packet.nic == 1);
    REQUIRE(packet.frame.size() == 12 + 60);
    const auto at = [&](std::size_t offset, std::vector<int> bytes) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            CAPTURE(offset, i);
            CHECK(std::to_integer<int>(packet.frame.at(offset + i)) == bytes[i]);
        }
    };
    at(0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});   // virtio_net_hdr
    at(12, {255, 255, 255, 255, 255, 255});        // to all
    at(18, {0x52, 0x54, 0, 1, 2, 3, 0x80, 0x35});  // from the card: RARP
    at(26, {0, 1, 8, 0, 6, 4, 0, 3});              // "who am I", of Ethernet and IPv4
    at(34, {0x52, 0x54, 0, 1, 2, 3, 0, 0, 0, 0});  // who asks
    at(44, {0x52, 0x54, 0, 1, 2, 3, 0, 0, 0, 0});  // about itself
}

}  // namespace
}  // namespace ftvmm::pair
