#include "base/ip_network.h"

#include <catch2/catch.hpp>

using namespace ftvmm;

TEST_CASE("A network has the addresses that begin with its prefix, and no others") {
    const auto network = IpNetwork::parse("10.77.0.0/23");
    REQUIRE(network);
    for (const char* in : {"10.77.0.1", "10.77.1.255"})
        CHECK(network->contains(in));
    for (const char* out : {"10.77.2.0", "10.76.255.255", "fd77::1", "::ffff:10.77.0.1", "", "h1"})
        CHECK_FALSE(network->contains(out));
    CHECK_FALSE(IpNetwork::parse("fd77:0:0:8000::/48"));
    CHECK(IpNetwork::parse("fd77:0:0:8000::/50")->contains("fd77:0:0:bfff::1"));
    CHECK_FALSE(IpNetwork::parse("fd77:0:0:8000::/50")->contains("fd77:0:0:c000::1"));
    CHECK(IpNetwork::parse("0.0.0.0/0")->contains("192.0.2.1"));
    CHECK_FALSE(IpNetwork::parse("0.0.0.0/0")->contains("::1"));
    CHECK(IpNetwork::parse("192.0.2.1/32")->contains("192.0.2.1"));
    CHECK_FALSE(IpNetwork::parse("192.0.2.1/32")->contains("192.0.2.0"));
}

TEST_CASE("A network has one text, however it was written") {
    CHECK(IpNetwork::parse("10.77.0.0/23")->text() == "10.77.0.0/23");
    CHECK(IpNetwork::parse("FD77:0:0::/64")->text() == "fd77::/64");
    CHECK(IpNetwork::parse("FD77:0:0::/64") == IpNetwork::parse("fd77::/64"));
    CHECK(IpNetwork::parse("10.0.0.0/8") != IpNetwork::parse("10.0.0.0/9"));
}

TEST_CASE("What is no network is none") {
    for (const char* text : {"", "/", "/24", "10.77.1.0", "10.77.1.0/", "10.77.1.0/33",
                             "10.77.1.11/24", "10.77.1.0/24 ", " 10.77.1.0/24", "10.77.1.0/-1",
                             "10.77.1/24", "fd77::/129", "fd77::1/64", "h1/24", "10.77.1.0/0x18"}) {
        INFO(text);
        CHECK_FALSE(IpNetwork::parse(text));
    }
}
