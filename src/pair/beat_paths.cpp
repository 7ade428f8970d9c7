#include "pair/beat_paths.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <memory>

namespace ftvmm::pair {

namespace {

using ftlink::HelloPath;
using heartbeat::UdpPath;

// Empty: it is of another family.
std::string text_of(const sockaddr* address) {
    const void* bytes = nullptr;
    if (address != nullptr && address->sa_family == AF_INET) {
        bytes = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
    } else if (address != nullptr && address->sa_family == AF_INET6) {
        bytes = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (bytes == nullptr) return {};
    return ::inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr
               ? std::string()
               : std::string(text.data());
}

UdpPath path_of(const std::string& local, const std::string& peer,
                const ftlink::ChannelEndpoints& link) {
    return {local + " to " + peer, {local, link.local.port}, {peer, link.peer.port}};
}

bool is_same_way(const UdpPath& a, const UdpPath& b) {
    return a.local.address == b.local.address && a.peer.address == b.peer.address;
}

}  // namespace

std::vector<HelloPath> paths_in(std::span<const IpNetwork> networks,
                                std::span<const std::string> addresses) {
    std::vector<HelloPath> paths;
    for (const IpNetwork& network : networks) {
        const auto found = std::ranges::find_if(
            addresses, [&](const std::string& address) { return network.contains(address); });
        if (found != addresses.end()) paths.push_back({network.text(), *found});
    }
    return paths;
}

std::vector<std::string> own_addresses() {
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return {};
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
    std::vector<std::string> addresses;
    for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
        if (std::string text = text_of(each->ifa_addr); !text.empty()) {
            addresses.push_back(std::move(text));
        }
    }
    return addresses;
}

std::vector<UdpPath> beat_paths(const ftlink::ChannelEndpoints& link,
                                std::span<const HelloPath> mine,
                                std::span<const HelloPath> theirs) {
    std::vector<UdpPath> paths{path_of(link.local.ip, link.peer.ip, link)};
    for (const HelloPath& here : mine) {
        const auto network = IpNetwork::parse(here.network);
        const auto there = std::ranges::find(theirs, here.network, &HelloPath::network);
        if (!network || there == theirs.end() || !network->contains(there->address)) continue;
        const UdpPath path = path_of(here.address, there->address, link);
        const bool is_new = std::ranges::none_of(
            paths, [&](const UdpPath& other) { return is_same_way(path, other); });
        if (is_new && paths.size() + 1 < heartbeat::kMaxPaths) paths.push_back(path);
    }
    return paths;
}

}  // namespace ftvmm::pair
