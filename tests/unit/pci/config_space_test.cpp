#include "vmm/pci/config_space.h"

#include <array>

#include <catch2/catch.hpp>

namespace ftvmm::pci {
namespace {

ConfigSpace make() {
    ConfigSpace config({.vendor = 0x1af4, .device = 0x1042, .class_code = 0x01'8000});
    config.add_bar(0, {BarKind::kMemory, 0x4000});
    config.add_bar(2, {BarKind::kIo, 16});
    return config;
}

TEST_CASE("A BAR is sized by writing ones and reading back, as Linux does") {
    ConfigSpace config = make();
    config.set_bar_address(0, 0xd000'4000);
    const std::uint32_t before = config.read(reg::kBar0, 4);
    config.write(reg::kBar0, 4, 0xffff'ffff);
    CHECK(config.read(reg::kBar0, 4) == 0xffff'c000);
    config.write(reg::kBar0, 4, before);
    CHECK(config.bar_address(0) == 0xd000'4000);

    config.write(reg::kBar0 + 8, 4, 0xffff'ffff);
    CHECK(config.read(reg::kBar0 + 8, 4) == 0xfff1);
    config.write(reg::kBar0 + 4, 4, 0xffff'ffff);
    CHECK(config.read(reg::kBar0 + 4, 4) == 0);
}

TEST_CASE("Only the bits that a function has take a write to its header") {
    ConfigSpace config = make();
    config.write(reg::kVendorId, 4, 0);
    CHECK(config.read(reg::kVendorId, 4) == 0x1042'1af4);
    config.write(reg::kCommand, 2, 0xffff);
    CHECK(config.read(reg::kCommand, 2) == 0x547);
    CHECK(config.decodes(BarKind::kIo));
    CHECK(config.decodes(BarKind::kMemory));
    config.write(reg::kCommand, 1, command::kMemory);
    CHECK_FALSE(config.decodes(BarKind::kIo));
    CHECK_FALSE(config.is_bus_master());
}

TEST_CASE("Capabilities form a list that ends") {
    ConfigSpace config = make();
    CHECK((config.read(reg::kStatus, 2) & 0x10) == 0);
    const std::array body{std::byte{1}, std::byte{2}, std::byte{3}};
    const auto first = config.add_capability(0x09, body);
    const auto second = config.add_capability(0x11, body);
    CHECK((config.read(reg::kStatus, 2) & 0x10) != 0);
    CHECK(config.read(reg::kCapabilities, 1) == first);
    CHECK(config.read(first, 2) == (second << 8U | 0x09U));
    CHECK(config.read(second, 2) == 0x11);
    CHECK(second % 4 == 0);
}

TEST_CASE("Configuration past 256 bytes reads as zero and takes no write") {
    ConfigSpace config = make();
    config.write(0x100, 4, 0xffff'ffff);
    CHECK(config.read(0x100, 4) == 0);
    CHECK(config.read(0xfff, 1) == 0);
}

TEST_CASE("A configuration space comes back from its state, and not from another's") {
    ConfigSpace config = make();
    config.write(reg::kCommand, 2, 7);
    config.set_bar_address(0, 0xd100'0000);
    ConfigSpace restored = make();
    REQUIRE(restored.restore(config.state()));
    CHECK(restored.state() == config.state());

    ConfigSpace other({.vendor = 0x1af4, .device = 0x1041, .class_code = 0x02'0000});
    CHECK_FALSE(other.restore(config.state()));
}

}  // namespace
}  // namespace ftvmm::pci
