#include "config/default_config.h"

#include <catch2/catch.hpp>

#include "config/read_config.h"

namespace ftvmm::config {
namespace {

TEST_CASE("The file of a new VM parses back to what it was made of") {
    SeededEntropy entropy(1);
    const Uuid uuid = Uuid::random(entropy);
    const MacAddress mac = MacAddress::random(entropy);
    const auto config = parse_config(default_config_text("web-1", uuid, mac), "/vms/web-1.toml");
    REQUIRE(config);
    CHECK(config->name == "web-1");
    CHECK(config->uuid == uuid);
    CHECK(config->kernel == "/vms/vmlinuz");
    CHECK(config->disks == std::vector{DiskConfig{"/vms/web-1.img", false, ""}});
    CHECK(config->nics == std::vector{NicConfig{mac, BridgeName{"br0"}}});
}

TEST_CASE("Every line of it that is commented out may be used") {
    SeededEntropy entropy(2);
    std::string text =
        default_config_text("web1", Uuid::random(entropy), MacAddress::random(entropy));
    // A card has a bridge or a tap: the one takes the place of the other.
    text.replace(text.find("bridge = \"br0\"\n# tap"), 20, "tap");
    for (const std::string key : {"initrd = ", "read_only = ", "serial = ", "log = ", "[ft]",
                                  "shared = ", "dead_after_ms = ", "lease_s = ", "paths = "}) {
        const auto at = text.find("# " + key);
        REQUIRE(at != std::string::npos);
        text.erase(at, 2);
    }
    const auto config = parse_config(text, "web1.toml");
    REQUIRE(config);
    CHECK(config->disks[0].read_only);
    CHECK(config->disks[0].serial == "root");
    CHECK(config->nics[0].plug == std::variant<BridgeName, TapName>(TapName{"tap0"}));
    CHECK(config->console.log == "web1.log");
    CHECK(config->ft ==
          FtConfig{.shared = "/srv/ftvmm/web1", .paths = {*IpNetwork::parse("192.0.2.0/24")}});
}

}  // namespace
}  // namespace ftvmm::config
