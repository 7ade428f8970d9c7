// On which ways the hosts of a pair send their beats.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/ip_network.h"
#include "ftlink/handshake.h"
#include "ftlink/tls_channel.h"
#include "heartbeat/udp_driver.h"

namespace ftvmm::pair {

// What this host says of itself before a pair is made: of each network in which it has one of
// `addresses`, the first.
[[nodiscard]] std::vector<ftlink::HelloPath> paths_in(std::span<const IpNetwork> networks,
                                                      std::span<const std::string> addresses);
// The addresses that this host has now; none where it can not tell.
[[nodiscard]] std::vector<std::string> own_addresses();

// The ways between two hosts: first that of the link, then one for each network in which both say
// that they are. All have the two ports of the link's connection, which nobody else has on these
// addresses. What the other host says it is and can not be is left out.
[[nodiscard]] std::vector<heartbeat::UdpPath> beat_paths(const ftlink::ChannelEndpoints& link,
                                                         std::span<const ftlink::HelloPath> mine,
                                                         std::span<const ftlink::HelloPath> theirs);

}  // namespace ftvmm::pair
