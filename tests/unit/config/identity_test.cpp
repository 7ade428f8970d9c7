#include "config/identity.h"

#include <set>

#include <catch2/catch.hpp>

#include "config/vm_config.h"

namespace ftvmm::config {
namespace {

TEST_CASE("A UUID reads back as it was written, in either case") {
    const auto uuid = Uuid::parse("0B9AD6A5-9b5c-4d8c-8d3a-5f1b64a54a67");
    REQUIRE(uuid);
    CHECK(uuid->text() == "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67");
    CHECK(Uuid::parse(uuid->text()) == uuid);
}

TEST_CASE("What is not quite a UUID is none") {
    for (const char* text :
         {"", "0b9ad6a5", "0b9ad6a59b5c4d8c8d3a5f1b64a54a67",
          "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a6g", "{0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67}",
          "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67 "}) {
        CHECK_FALSE(Uuid::parse(text));
    }
}

TEST_CASE("Random UUIDs are of version 4 and differ") {
    SeededEntropy entropy(1);
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        const std::string text = Uuid::random(entropy).text();
        CHECK(text[14] == '4');
        CHECK(std::string("89ab").find(text[19]) != std::string::npos);
        CHECK(seen.insert(text).second);
    }
}

TEST_CASE("A MAC address reads back as it was written, in either case") {
    const auto mac = MacAddress::parse("52:54:00:AB:cd:ef");
    REQUIRE(mac);
    CHECK(mac->text() == "52:54:00:ab:cd:ef");
}

TEST_CASE("What is not quite a MAC address is none") {
    for (const char* text : {"", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5g",
                             "525400123456", "52:54:00:12:34:56:78"}) {
        CHECK_FALSE(MacAddress::parse(text));
    }
}

TEST_CASE("Random MAC addresses are locally administered and unicast") {
    SeededEntropy entropy(2);
    for (int i = 0; i < 100; ++i) {
        const MacAddress mac = MacAddress::random(entropy);
        CHECK_FALSE(mac.is_multicast());
        CHECK((mac.bytes[0] & 2) != 0);
    }
}

TEST_CASE("Sizes have a unit that is a power of 1024") {
    CHECK(parse_size("2 GiB") == std::uint64_t{2} << 30);
    CHECK(parse_size("512MiB") == std::uint64_t{512} << 20);
    CHECK(parse_size("4 KiB") == 4096);
    for (const char* text : {"", "2", "GiB", "2 GB", "2  GiB", "-2 GiB", "2.5 GiB", "2 GiB ",
                             "2 TiB", "99999999999999999999 KiB", "17179869184 GiB"}) {
        CHECK_FALSE(parse_size(text));
    }
}

}  // namespace
}  // namespace ftvmm::config
