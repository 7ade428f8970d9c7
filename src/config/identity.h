// What tells one machine and one network card from every other: UUIDs and MAC addresses.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace ftvmm::config {

// The identity of a VM, the same for as long as the VM exists (RFC 4122).
struct Uuid {
    std::array<std::uint8_t, 16> bytes{};

    bool operator==(const Uuid&) const = default;

    // A random one, version 4.
    static Uuid random(Entropy& entropy);
    // From "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67", in either case; nothing else is taken.
    static std::optional<Uuid> parse(std::string_view text);
    // In lower case.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }
};

// The address of a network card on its Ethernet.
struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    bool operator==(const MacAddress&) const = default;

    // A random one from the range that nobody sells: locally administered, unicast (IEEE 802, 8.2).
    static MacAddress random(Entropy& entropy);
    // From "52:54:00:12:34:56", in either case; nothing else is taken.
    static std::optional<MacAddress> parse(std::string_view text);
    // In lower case.
    [[nodiscard]] std::string text() const;
    // A group of cards, broadcast included: no card's own address.
    [[nodiscard]] bool is_multicast() const { return (bytes[0] & 1) != 0; }
};

}  // namespace ftvmm::config
