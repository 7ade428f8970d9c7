#include "vmm/pci/msix.h"

#include <catch2/catch.hpp>

namespace ftvmm::pci {
namespace {

constexpr std::uint16_t kEnable = 0x8000;
constexpr std::uint16_t kFunctionMask = 0x4000;

// A function with three vectors, each programmed and unmasked, MSI-X on.
struct Fixture {
    ConfigSpace config{{.vendor = 1, .device = 2}};
    Msix msix{config, 3, {.bar = 0, .table = 0x800, .pending = 0xc00}};
    std::uint16_t control = static_cast<std::uint16_t>(config.read(reg::kCapabilities, 1) + 2);

    Fixture() {
        for (std::uint32_t vector = 0; vector < 3; ++vector) {
            (void)msix.write_table(config, vector * 16, 4, 0xfee0'0000 + vector * 0x1000);
            (void)msix.write_table(config, vector * 16 + 4, 4, 0);
            (void)msix.write_table(config, vector * 16 + 8, 4, 0x40 + vector);
            (void)msix.write_table(config, vector * 16 + 12, 4, 0);
        }
        config.write(reg::kCommand, 2, command::kBusMaster);
        config.write(control, 2, kEnable);
    }
};

TEST_CASE("The MSI-X capability names table, pending bits and size") {
    Fixture f;
    const auto offset = static_cast<std::uint16_t>(f.control - 2);
    CHECK(f.config.read(offset, 1) == kMsixCapability);
    f.config.write(f.control, 2, 0xffff);
    CHECK(f.config.read(f.control, 2) == (kEnable | kFunctionMask | 2U));
    CHECK(f.config.read(static_cast<std::uint16_t>(offset + 4), 4) == 0x800);
    CHECK(f.config.read(static_cast<std::uint16_t>(offset + 8), 4) == 0xc00);
}

TEST_CASE("A signalled vector is its message") {
    Fixture f;
    CHECK(f.msix.signal(f.config, 2) == MsiMessage{0xfee0'2000, 0x42});
    CHECK_FALSE(f.msix.signal(f.config, 3));
    CHECK_FALSE(f.msix.signal(f.config, 0xffff));
}

TEST_CASE("A masked vector is pending, and its message comes out once when unmasked") {
    Fixture f;
    CHECK(f.msix.write_table(f.config, 16 + 12, 4, 1).empty());
    CHECK_FALSE(f.msix.signal(f.config, 1));
    CHECK_FALSE(f.msix.signal(f.config, 1));
    CHECK(f.msix.read_pending(0, 8) == 2);
    CHECK(f.msix.signal(f.config, 0));
    const auto messages = f.msix.write_table(f.config, 16 + 12, 4, 0);
    REQUIRE(messages.size() == 1);
    CHECK(messages[0] == MsiMessage{0xfee0'1000, 0x41});
    CHECK(f.msix.read_pending(0, 4) == 0);
    CHECK(f.msix.write_table(f.config, 16 + 12, 4, 0).empty());
}

TEST_CASE("The function mask holds every vector back") {
    Fixture f;
    f.config.write(f.control, 2, kEnable | kFunctionMask);
    CHECK_FALSE(f.msix.signal(f.config, 0));
    CHECK_FALSE(f.msix.signal(f.config, 2));
    CHECK(f.msix.release(f.config).empty());
    f.config.write(f.control, 2, kEnable);
    const auto messages = f.msix.release(f.config);
    REQUIRE(messages.size() == 2);
    CHECK(messages[0].data == 0x40);
    CHECK(messages[1].data == 0x42);
}

TEST_CASE("With MSI-X off a signal is lost, and without bus mastering it waits") {
    Fixture f;
    f.config.write(f.control, 2, 0);
    CHECK_FALSE(f.msix.signal(f.config, 0));
    CHECK(f.msix.read_pending(0, 8) == 0);
    f.config.write(f.control, 2, kEnable);
    f.config.write(reg::kCommand, 2, 0);
    CHECK_FALSE(f.msix.signal(f.config, 0));
    f.config.write(reg::kCommand, 2, command::kBusMaster);
    CHECK(f.msix.release(f.config).size() == 1);
}

TEST_CASE("The table takes words and double words, and ignores other accesses") {
    Fixture f;
    (void)f.msix.write_table(f.config, 0, 8, 0x1'fee0'5003);
    CHECK(f.msix.read_table(0, 8) == 0x1'fee0'5000);
    CHECK(f.msix.read_table(4, 4) == 1);
    (void)f.msix.write_table(f.config, 8, 8, 0x1'0000'0099);
    CHECK(f.msix.read_table(8, 8) == 0x1'0000'0099);
    CHECK(f.msix.write_table(f.config, 2, 4, 0xffff'ffff).empty());
    CHECK(f.msix.write_table(f.config, 0, 2, 0xffff).empty());
    CHECK(f.msix.read_table(0, 8) == 0x1'fee0'5000);
    CHECK(f.msix.read_table(0, 2) == 0);
    CHECK(f.msix.read_table(16 * 3, 8) == 0);
    CHECK(f.msix.write_table(f.config, 0xffff'fff8, 8, 1).empty());
    CHECK(f.msix.read_pending(0xffff'fff8, 8) == 0);
}

TEST_CASE("An MSI-X table comes back from its state with what is pending") {
    Fixture f;
    (void)f.msix.write_table(f.config, 12, 4, 1);
    (void)f.msix.signal(f.config, 0);
    Fixture g;
    REQUIRE(g.msix.restore(f.msix.state()));
    CHECK(g.msix.state() == f.msix.state());
    CHECK(g.msix.write_table(g.config, 12, 4, 0).size() == 1);

    auto shorter = f.msix.state();
    shorter.entries.pop_back();
    CHECK_FALSE(g.msix.restore(shorter));
}

}  // namespace
}  // namespace ftvmm::pci
