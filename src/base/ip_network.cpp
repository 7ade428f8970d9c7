#include "base/ip_network.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <charconv>

namespace ftvmm {

std::optional<IpNetwork::Bytes> IpNetwork::bytes_of(int family, const std::string& address) {
    Bytes bytes{};
    if (::inet_pton(family, address.c_str(), bytes.data()) != 1) return std::nullopt;
    return bytes;
}

std::optional<IpNetwork> IpNetwork::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const std::string address(text.substr(0, slash));
    IpNetwork network;
    network.family_ = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
    const auto bytes = bytes_of(network.family_, address);
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + slash + 1, end, network.bits_);
    const unsigned most = network.family_ == AF_INET ? 32 : 128;
    if (!bytes || read.ec != std::errc() || read.ptr != end || network.bits_ > most) {
        return std::nullopt;
    }
    if (network.masked(*bytes) != *bytes) return std::nullopt;
    network.prefix_ = *bytes;
    return network;
}

IpNetwork::Bytes IpNetwork::masked(const Bytes& bytes) const {
    Bytes masked{};
    constexpr unsigned kByteBits = 8;
    for (unsigned bit = 0; bit < bits_; ++bit) {
        const unsigned mask = 0x80U >> (bit % kByteBits);
        std::uint8_t& byte = masked.at(bit / kByteBits);
        byte = static_cast<std::uint8_t>(byte | (bytes.at(bit / kByteBits) & mask));
    }
    return masked;
}

bool IpNetwork::contains(const std::string& address) const {
    const auto bytes = bytes_of(family_, address);
    return bytes && masked(*bytes) == prefix_;
}

std::string IpNetwork::text() const {
    std::array<char, INET6_ADDRSTRLEN> address{};
    if (::inet_ntop(family_, prefix_.data(), address.data(), address.size()) == nullptr) return "?";
    return fmt::format("{}/{}", address.data(), bits_);
}

}  // namespace ftvmm
