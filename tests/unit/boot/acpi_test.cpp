#include "vmm/boot/acpi.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "read_guest.h"
#include "vmm/boot/layout.h"
#include "vmm/boot/memory_map.h"

namespace ftvmm::boot {
namespace {

constexpr AcpiPlatform kPlatform{.pm1_event_port = 0x600,
                                 .pm1_control_port = 0x604,
                                 .pm_timer_port = 0x608,
                                 .reset_port = 0x60c,
                                 .reset_value = 1,
                                 .sci_irq = 9};

// Tables in memory, read at the offsets that ACPI 6.3 gives.
class Tables {
  public:
    Tables() : memory_(std::move(*GuestMemory::create(2 << 20))) {
        rsdp_ = write_acpi_tables(memory_, kPlatform).value();
    }

    [[nodiscard]] std::uint64_t rsdp() const { return rsdp_; }
    template <class T>
    [[nodiscard]] T read(std::uint64_t address) const {
        return read_guest<T>(memory_, address);
    }
    [[nodiscard]] std::string text(std::uint64_t address, std::uint64_t length) const {
        return std::string(guest_text(memory_, address, length));
    }
    [[nodiscard]] bool sums_to_zero(std::uint64_t address, std::uint64_t length) const {
        unsigned sum = 0;
        for (const std::byte byte : memory_.find(Gpa(address), length))
            sum += std::to_integer<unsigned>(byte);
        return length != 0 && sum % 256 == 0;
    }
    [[nodiscard]] std::uint64_t xsdt() const { return read<std::uint64_t>(rsdp_ + 24); }
    [[nodiscard]] std::uint32_t length(std::uint64_t table) const {
        return read<std::uint32_t>(table + 4);
    }
    // The table of the XSDT with `signature`, or 0.
    [[nodiscard]] std::uint64_t find(const std::string& signature) const {
        for (std::uint64_t at = xsdt() + 36; at < xsdt() + length(xsdt()); at += 8) {
            const auto table = read<std::uint64_t>(at);
            if (text(table, 4) == signature) return table;
        }
        return 0;
    }
    [[nodiscard]] std::uint64_t dsdt() const { return read<std::uint64_t>(find("FACP") + 140); }
    // Whether the DSDT has these bytes somewhere: a resource in its binary form (ACPI 6.3, 6.4).
    [[nodiscard]] bool dsdt_has(std::initializer_list<std::uint64_t> bytes) const {
        std::string wanted;
        for (const std::uint64_t byte : bytes)
            wanted.push_back(static_cast<char>(byte));
        return text(dsdt(), length(dsdt())).find(wanted) != std::string::npos;
    }
    // 6.4.2.5 "I/O Port Descriptor" of 16 decoded bits, and 6.4.2.1 "IRQ Descriptor" without flags.
    [[nodiscard]] bool dsdt_has_ports(std::uint64_t port, std::uint64_t count) const {
        return dsdt_has({0x47, 1, port % 256, port / 256, port % 256, port / 256, 1, count});
    }
    [[nodiscard]] bool dsdt_has_irq(unsigned irq) const {
        const std::uint64_t mask = std::uint64_t{1} << irq;
        return dsdt_has({0x22, mask % 256, mask / 256});
    }

  private:
    GuestMemory memory_;
    std::uint64_t rsdp_ = 0;
};

struct Register {
    std::uint8_t space, bits, offset, access;
    std::uint64_t address;
    bool operator==(const Register&) const = default;
};

Register read_register(const Tables& tables, std::uint64_t address) {
    return {tables.read<std::uint8_t>(address), tables.read<std::uint8_t>(address + 1),
            tables.read<std::uint8_t>(address + 2), tables.read<std::uint8_t>(address + 3),
            tables.read<std::uint64_t>(address + 4)};
}

TEST_CASE("The RSDP is where a scan of the BIOS area finds it, with both its checksums") {
    const Tables tables;
    CHECK(tables.rsdp() >= 0xe0000);
    CHECK(tables.rsdp() % 16 == 0);
    CHECK(tables.text(tables.rsdp(), 8) == "RSD PTR ");
    CHECK(tables.read<std::uint8_t>(tables.rsdp() + 15) == 2);
    CHECK(tables.read<std::uint32_t>(tables.rsdp() + 16) == 0);  // No RSDT.
    CHECK(tables.read<std::uint32_t>(tables.rsdp() + 20) == 36);
    CHECK(tables.sums_to_zero(tables.rsdp(), 20));
    CHECK(tables.sums_to_zero(tables.rsdp(), 36));
}

TEST_CASE("Every table is reached, sums to 0 and lies apart in reserved memory below 1 MiB") {
    const Tables tables;
    CHECK(tables.text(tables.xsdt(), 4) == "XSDT");
    const std::uint64_t fadt = tables.find("FACP");
    REQUIRE(fadt != 0);
    const auto facs = tables.read<std::uint32_t>(fadt + 36);
    CHECK(tables.read<std::uint64_t>(fadt + 132) == 0);  // Linux would find the FACS twice.
    CHECK(tables.read<std::uint32_t>(fadt + 40) == tables.dsdt());
    CHECK(tables.text(facs, 4) == "FACS");
    CHECK(tables.length(facs) == 64);
    CHECK(facs % 64 == 0);
    CHECK(tables.text(tables.dsdt(), 4) == "DSDT");

    std::set<std::uint64_t> all{tables.xsdt(), fadt, tables.dsdt(), tables.find("APIC"),
                                tables.find("MCFG")};
    REQUIRE(all.size() == 5);
    for (const std::uint64_t table : all)
        CHECK(tables.sums_to_zero(table, tables.length(table)));
    all.insert(facs);
    std::uint64_t end = tables.rsdp() + 36;
    for (const std::uint64_t table : all) {
        CHECK(table >= end);
        end = table + tables.length(table);
    }
    CHECK(end <= 0x100000);
    CHECK(std::ranges::count(make_memory_map(64 << 20),
                             MemoryRange{Gpa(0xe0000), 0x20000, MemoryRange::Kind::kReserved}) ==
          1);
}

TEST_CASE("The FADT names the fixed hardware, in its old fields and in its new ones") {
    const Tables tables;
    const std::uint64_t fadt = tables.find("FACP");
    CHECK(tables.length(fadt) == 276);
    CHECK(tables.read<std::uint8_t>(fadt + 8) == 6);
    CHECK(tables.read<std::uint8_t>(fadt + 131) == 3);
    CHECK(tables.read<std::uint16_t>(fadt + 46) == 9);  // SCI_INT
    CHECK(tables.read<std::uint32_t>(fadt + 48) == 0);  // SMI_CMD: always in ACPI mode.
    CHECK(tables.read<std::uint32_t>(fadt + 56) == 0x600);
    CHECK(tables.read<std::uint8_t>(fadt + 88) == 4);
    CHECK(read_register(tables, fadt + 148) == Register{1, 32, 0, 2, 0x600});
    CHECK(tables.read<std::uint32_t>(fadt + 64) == 0x604);
    CHECK(tables.read<std::uint8_t>(fadt + 89) == 2);
    CHECK(read_register(tables, fadt + 172) == Register{1, 16, 0, 2, 0x604});
    CHECK(tables.read<std::uint32_t>(fadt + 76) == 0x608);
    CHECK(tables.read<std::uint8_t>(fadt + 91) == 4);
    CHECK(read_register(tables, fadt + 208) == Register{1, 32, 0, 3, 0x608});
    CHECK(read_register(tables, fadt + 116) == Register{1, 8, 0, 1, 0x60c});
    CHECK(tables.read<std::uint8_t>(fadt + 128) == 1);
    CHECK(tables.read<std::uint8_t>(fadt + 108) == 0);  // No century in a CMOS.
    CHECK(tables.read<std::uint64_t>(fadt + 80) == 0);  // No general purpose events.
    CHECK(tables.read<std::uint16_t>(fadt + 92) == 0);
}

TEST_CASE("The FADT's flags offer a fixed power button and deny what is not there") {
    const Tables tables;
    const std::uint64_t fadt = tables.find("FACP");
    const auto flags = tables.read<std::uint32_t>(fadt + 112);
    const auto has = [&](unsigned bit) { return (flags >> bit & 1) != 0; };
    CHECK(has(0));         // WBINVD
    CHECK_FALSE(has(4));   // PWR_BUTTON: a control method button.
    CHECK(has(5));         // SLP_BUTTON: no fixed sleep button.
    CHECK(has(6));         // FIX_RTC: no fixed RTC status.
    CHECK(has(8));         // TMR_VAL_EXT
    CHECK(has(10));        // RESET_REG_SUP
    CHECK_FALSE(has(20));  // HW_REDUCED_ACPI
    const auto boot = tables.read<std::uint16_t>(fadt + 109);
    CHECK((boot & 0x02) == 0);  // No 8042.
    CHECK((boot & 0x04) != 0);  // No VGA.
    CHECK((boot & 0x08) == 0);  // MSI is supported.
    CHECK((boot & 0x10) != 0);  // No ASPM.
    CHECK((boot & 0x20) != 0);  // No CMOS RTC.
}

TEST_CASE("The MADT has the 8259 and one local APIC, and nothing else") {
    const Tables tables;
    const std::uint64_t madt = tables.find("APIC");
    CHECK(tables.length(madt) == 44 + 8);
    CHECK(tables.read<std::uint32_t>(madt + 36) == 0xfee00000);
    CHECK(tables.read<std::uint32_t>(madt + 40) == 1);       // PCAT_COMPAT
    CHECK(tables.read<std::uint16_t>(madt + 44) == 0x0800);  // Type 0, length 8.
    CHECK(tables.read<std::uint16_t>(madt + 46) == 0);       // Processor 0, APIC 0.
    CHECK(tables.read<std::uint32_t>(madt + 48) == 1);       // Enabled.
}

TEST_CASE("The MCFG gives bus 0 the window that is reserved for it") {
    const Tables tables;
    const std::uint64_t mcfg = tables.find("MCFG");
    CHECK(tables.length(mcfg) == 60);
    CHECK(tables.read<std::uint64_t>(mcfg + 44) == kEcamBase.value());
    CHECK(tables.read<std::uint16_t>(mcfg + 52) == 0);
    CHECK(tables.read<std::uint16_t>(mcfg + 54) == 0);  // From bus 0 to bus 0.
    CHECK(kEcamBytes == 1 << 20);
}

TEST_CASE("The DSDT's numbers are those that acpi.h and the memory map give") {
    const Tables tables;
    const std::string aml = tables.text(tables.dsdt(), tables.length(tables.dsdt()));
    // 20.2.5.4: a package of four, whose first element is a byte.
    const std::size_t sleep = aml.find("_S5_");
    REQUIRE(sleep != std::string::npos);
    CHECK(aml.at(sleep + 4) == 0x12);
    CHECK(aml.at(sleep + 6) == 4);
    CHECK(aml.at(sleep + 7) == 0x0a);
    CHECK(aml.at(sleep + 8) == kDsdtSleepTypeS5);

    CHECK(tables.dsdt_has_ports(kDsdtPmPorts, kDsdtPmPortCount));
    CHECK(tables.dsdt_has_ports(kDsdtSerialPort, 8));
    CHECK(tables.dsdt_has_irq(kDsdtSerialIrq));
    CHECK_FALSE(tables.dsdt_has_ports(0x70, 2));  // Nor is it in the DSDT.
    CHECK(tables.dsdt_has_ports(0xcf8, 8));
    // 6.4.3.4 "32-Bit Fixed Memory Range Descriptor" of ECAM.
    const std::uint64_t ecam = kEcamBase.value() >> 24;
    CHECK(tables.dsdt_has({0x86, 9, 0, 1, 0, 0, 0, ecam, 0, 0, kEcamBytes >> 16, 0}));
    // 6.4.3.5: granularity, minimum and maximum of the root's ports and memory.
    CHECK(tables.dsdt_has({0, 0, 0, kDsdtPciPortsStart >> 8, 0xff, 0xff, 0, 0}));
    const std::uint64_t last = kDsdtPciMemoryEnd - 1;
    CHECK(tables.dsdt_has({0, 0, 0, 0, 0, 0, 0, kDsdtPciMemoryStart >> 24, 0xff, 0xff, 0xff,
                           last >> 24, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace ftvmm::boot
