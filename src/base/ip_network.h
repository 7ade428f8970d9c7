// A network of IPv4 or IPv6, by its prefix.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftvmm {

class IpNetwork {
  public:
    // From "10.77.1.0/24" or "fd77::/64"; nothing for any other text, and where the address has
    // bits behind the prefix.
    static std::optional<IpNetwork> parse(std::string_view text);

    // Whether `address`, in numbers, is of this network. False for what is no address.
    [[nodiscard]] bool contains(const std::string& address) const;
    // As it was parsed from, but in one way for each network.
    [[nodiscard]] std::string text() const;

    bool operator==(const IpNetwork&) const = default;

  private:
    using Bytes = std::array<std::uint8_t, 16>;

    [[nodiscard]] static std::optional<Bytes> bytes_of(int family, const std::string& address);
    // The bytes without those bits that are behind the prefix.
    [[nodiscard]] Bytes masked(const Bytes& bytes) const;

    int family_ = 0;  // AF_INET or AF_INET6.
    Bytes prefix_{};  // Of IPv4 the first 4.
    unsigned bits_ = 0;
};

}  // namespace ftvmm
