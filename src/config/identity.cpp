#include "config/identity.h"

#include <fmt/format.h>

#include <cstddef>
#include <span>

namespace ftvmm::config {

namespace {

int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

// Reads `text` as pairs of hex digits wherever `shape` has an 'x', and as the very character of
// `shape` elsewhere. False unless all of it fits.
template <std::size_t kBytes>
std::optional<std::array<std::uint8_t, kBytes>> parse_shape(std::string_view text,
                                                            std::string_view shape) {
    if (text.size() != shape.size()) return std::nullopt;
    std::array<std::uint8_t, kBytes> bytes{};
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (shape[i] != 'x') {
            if (text[i] != shape[i]) return std::nullopt;
            continue;
        }
        const int value = hex_value(text[i]);
        if (value < 0) return std::nullopt;
        std::uint8_t& byte = bytes[digits / 2];
        byte = static_cast<std::uint8_t>(byte << 4 | value);
        ++digits;
    }
    return bytes;
}

}  // namespace

Uuid Uuid::random(Entropy& entropy) {
    Uuid uuid;
    entropy.fill(std::as_writable_bytes(std::span(uuid.bytes)));
    // RFC 4122 4.4: version 4 and the variant in two fixed places.
    uuid.bytes[6] = static_cast<std::uint8_t>((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = static_cast<std::uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
    const auto bytes = parse_shape<16>(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    if (!bytes) return std::nullopt;
    return Uuid{*bytes};
}

std::string Uuid::text() const {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", bytes[i]);
    }
    return text;
}

MacAddress MacAddress::random(Entropy& entropy) {
    MacAddress mac;
    entropy.fill(std::as_writable_bytes(std::span(mac.bytes)));
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
    return mac;
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    const auto bytes = parse_shape<6>(text, "xx:xx:xx:xx:xx:xx");
    if (!bytes) return std::nullopt;
    return MacAddress{*bytes};
}

std::string MacAddress::text() const {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                       bytes[3], bytes[4], bytes[5]);
}

}  // namespace ftvmm::config
