#include "pair/beat_paths.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using ftlink::HelloPath;

const ftlink::ChannelEndpoints kLink{{"10.77.2.11", 4242}, {"10.77.2.12", 51724}};

std::vector<std::string> names_of(const std::vector<heartbeat::UdpPath>& paths) {
    std::vector<std::string> names;
    for (const heartbeat::UdpPath& path : paths)
        names.push_back(path.name);
    return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("A host is reached by its first address in each network") {
    const std::vector networks{*IpNetwork::parse("10.77.1.0/24"), *IpNetwork::parse("10.77.9.0/24"),
                               *IpNetwork::parse("fd77::/64")};
    const std::vector<std::string> addresses{"127.0.0.1", "10.77.1.11", "10.77.1.12", "fd77::11"};
    CHECK(paths_in(networks, addresses) ==
          std::vector<HelloPath>{{"10.77.1.0/24", "10.77.1.11"}, {"fd77::/64", "fd77::11"}});
    CHECK(paths_in({}, addresses).empty());
}

TEST_CASE("Without networks beats go where the link goes, from port to port") {
    const auto paths = beat_paths(kLink, {}, {});
    REQUIRE(paths.size() == 1);
    CHECK(paths[0].name == "10.77.2.11 to 10.77.2.12");
    CHECK(paths[0].local.address == "10.77.2.11");
    CHECK(paths[0].local.port == 4242);
    CHECK(paths[0].peer.address == "10.77.2.12");
    CHECK(paths[0].peer.port == 51724);
}

TEST_CASE("Beats go over each network in which both hosts are, with the link's ports") {
    const std::vector<HelloPath> mine{{"10.77.1.0/24", "10.77.1.11"},
                                      {"10.77.0.0/24", "10.77.0.11"}};
    const std::vector<HelloPath> theirs{{"10.77.5.0/24", "10.77.5.12"},
                                        {"10.77.1.0/24", "10.77.1.12"}};
    const auto paths = beat_paths(kLink, mine, theirs);
    REQUIRE(names_of(paths) == Names{"10.77.2.11 to 10.77.2.12", "10.77.1.11 to 10.77.1.12"});
    CHECK(paths[1].local.port == 4242);
    CHECK(paths[1].peer.port == 51724);
}

TEST_CASE("The link's own network is no path twice, and no beat goes where a host can not be") {
    const std::vector<HelloPath> mine{{"10.77.2.0/24", "10.77.2.11"},
                                      {"10.77.1.0/24", "10.77.1.11"}};
    const std::vector<HelloPath> theirs{{"10.77.2.0/24", "10.77.2.12"},
                                        {"10.77.1.0/24", "192.0.2.1"}};
    CHECK(names_of(beat_paths(kLink, mine, theirs)) == Names{"10.77.2.11 to 10.77.2.12"});
}

TEST_CASE("There are no more paths than a detector has, the link among them") {
    std::vector<HelloPath> mine;
    std::vector<HelloPath> theirs;
    for (int i = 0; i < 9; ++i) {
        const std::string prefix = "10.78." + std::to_string(i) + ".";
        mine.push_back({prefix + "0/24", prefix + "11"});
        theirs.push_back({prefix + "0/24", prefix + "12"});
    }
    CHECK(beat_paths(kLink, mine, theirs).size() == heartbeat::kMaxPaths - 1);
}

TEST_CASE("This host has an address on its loopback") {
    const auto addresses = own_addresses();
    CHECK(paths_in(std::vector{*IpNetwork::parse("127.0.0.0/8")}, addresses).size() == 1);
}

}  // namespace ftvmm::pair
