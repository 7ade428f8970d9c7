#include "vmm/boot/acpi.h"

#include <array>
#include <cstddef>
#include <numeric>
#include <span>

#include "base/check.h"
#include "vmm/boot/acpi_tables.h"
#include "vmm/boot/layout.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/store_bytes.h"

// The DSDT as iasl made it of dsdt.asl, embedded by the build.
extern "C" {
extern const std::byte ftvmm_dsdt[];
extern const std::byte ftvmm_dsdt_end[];
}

namespace ftvmm::boot {

namespace {

using namespace acpi;

// The strictest that a table asks for: the FACS.
constexpr std::uint64_t kAlignment = 64;

// FADT, table 5-34 "Fixed ACPI Description Table Fixed Feature Flags". PWR_BUTTON is clear: the
// power button is fixed hardware. FIX_RTC set means that the RTC's wake status is not.
constexpr std::uint32_t kWbinvd = 1U << 0;
constexpr std::uint32_t kProcC1 = 1U << 2;
constexpr std::uint32_t kNoSleepButton = 1U << 5;
constexpr std::uint32_t kNoFixedRtc = 1U << 6;
constexpr std::uint32_t kTimer32Bits = 1U << 8;
constexpr std::uint32_t kResetRegister = 1U << 10;
// 5.2.9.3 "IA-PC Boot Architecture Flags". No 8042; nor LEGACY_DEVICES, as what is on the ISA bus
// is in the DSDT.
constexpr std::uint16_t kNoVga = 1U << 2;
constexpr std::uint16_t kNoAspm = 1U << 4;
// The machine has an RTC, for an OS that does not read ACPI. Linux with an RTC sets its clock by it
// at boot, to a whole second and a half (rtc_hctosys()), and so spoils to half a second what it had
// from KVM's clock to the nanosecond.
constexpr std::uint16_t kNoCmosRtc = 1U << 5;
constexpr std::uint8_t kEnterpriseServer = 4;
// 5.2.9, P_LVL2_LAT and P_LVL3_LAT: there is no such state.
constexpr std::uint16_t kNoC2 = 0xfff;
constexpr std::uint16_t kNoC3 = 0xffff;

constexpr std::uint8_t kSystemIo = 1;
constexpr std::uint32_t kLocalApicBase = 0xfee00000;
constexpr std::uint32_t kWith8259 = 1U << 0;  // PCAT_COMPAT
constexpr std::uint32_t kProcessorEnabled = 1U << 0;

// What makes the sum of `bytes` 0 when added to it.
std::uint8_t checksum(std::span<const std::byte> bytes) {
    const auto sum = std::accumulate(
        bytes.begin(), bytes.end(), 0U,
        [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); });
    return static_cast<std::uint8_t>(0U - sum);
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

Header header(const std::array<char, 4>& signature, std::uint8_t revision, std::size_t length) {
    return {.signature = signature,
            .length = static_cast<std::uint32_t>(length),
            .revision = revision,
            .checksum = 0,
            .oem_id = {'F', 'T', 'V', 'M', 'M', ' '},
            .oem_table_id = {'F', 'T', 'V', 'M', 'M', ' ', ' ', ' '},
            .oem_revision = 1,
            .creator_id = {'F', 'T', 'V', 'M'},
            .creator_revision = 1};
}

// Hands out the room of kAcpiTables from its start.
class TableWriter {
  public:
    explicit TableWriter(const GuestMemory& memory) : memory_(memory) {}

    Gpa reserve(std::uint64_t bytes) {
        const Gpa place = next_;
        next_ = next_ + (bytes + kAlignment - 1) / kAlignment * kAlignment;
        FTVMM_CHECK(next_ <= kAcpiTables.end(), "the ACPI tables fit the ROM's 128 KiB");
        return place;
    }
    Gpa add_bytes(std::span<const std::byte> bytes) {
        const Gpa place = reserve(bytes.size());
        store_bytes(memory_, place, bytes);
        return place;
    }
    // A table that starts with a Header.
    template <class Table>
    Gpa add(Table table) {
        table.header.checksum = checksum(bytes_of(table));
        return add_bytes(bytes_of(table));
    }

  private:
    const GuestMemory& memory_;
    Gpa next_ = kAcpiTables.start;
};

constexpr Address io_register(std::uint16_t port, std::uint8_t bytes) {
    // 5.2.3.2: an access size of 1 is a byte, 2 a word, 3 a double word.
    const auto access = static_cast<std::uint8_t>(bytes == 4 ? 3 : bytes);
    return {kSystemIo, static_cast<std::uint8_t>(bytes * 8), 0, access, port};
}

// PM1a_EVT is two registers of 16 bits side by side.
constexpr Address event_block(std::uint16_t port) {
    Address address = io_register(port, 2);
    address.bits = 32;
    return address;
}

Fadt make_fadt(const AcpiPlatform& platform, Gpa facs, Gpa dsdt) {
    Fadt fadt{};
    fadt.header = header({'F', 'A', 'C', 'P'}, 6, sizeof fadt);
    fadt.minor_version = 3;
    // One of the two pointers to the FACS: ACPICA takes two for two tables.
    fadt.firmware_ctrl = static_cast<std::uint32_t>(facs.value());
    fadt.dsdt = static_cast<std::uint32_t>(dsdt.value());
    fadt.x_dsdt = dsdt.value();
    fadt.preferred_pm_profile = kEnterpriseServer;
    fadt.sci_int = platform.sci_irq;
    fadt.pm1a_evt_blk = platform.pm1_event_port;
    fadt.pm1_evt_len = 4;
    fadt.x_pm1a_evt_blk = event_block(platform.pm1_event_port);
    fadt.pm1a_cnt_blk = platform.pm1_control_port;
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_cnt_blk = io_register(platform.pm1_control_port, 2);
    fadt.pm_tmr_blk = platform.pm_timer_port;
    fadt.pm_tmr_len = 4;
    fadt.x_pm_tmr_blk = io_register(platform.pm_timer_port, 4);
    fadt.p_lvl2_lat = kNoC2;
    fadt.p_lvl3_lat = kNoC3;
    fadt.iapc_boot_arch = kNoVga | kNoAspm | kNoCmosRtc;
    fadt.flags = kWbinvd | kProcC1 | kNoSleepButton | kNoFixedRtc | kTimer32Bits | kResetRegister;
    fadt.reset_reg = io_register(platform.reset_port, 1);
    fadt.reset_value = platform.reset_value;
    return fadt;
}

Facs make_facs() {
    Facs facs{};
    facs.signature = {'F', 'A', 'C', 'S'};
    facs.length = sizeof facs;
    facs.version = 2;
    return facs;
}

// With an IO-APIC Linux would look for the timer behind it and, without a TSC, give up
// ("IO-APIC + timer doesn't work"); without any it keeps the legacy lines on the 8259.
Madt make_madt() {
    return {.header = header({'A', 'P', 'I', 'C'}, 5, sizeof(Madt)),
            .local_apic_address = kLocalApicBase,
            .flags = kWith8259,
            .processor = {.type = 0,
                          .length = sizeof(LocalApic),
                          .processor_uid = 0,
                          .apic_id = 0,
                          .flags = kProcessorEnabled}};
}

Mcfg make_mcfg() {
    Mcfg mcfg{};
    mcfg.header = header({'M', 'C', 'F', 'G'}, 1, sizeof mcfg);
    mcfg.base = kEcamBase.value();
    constexpr std::uint64_t kBusBytes = std::uint64_t{1} << 20;
    mcfg.last_bus = kEcamBytes / kBusBytes - 1;
    return mcfg;
}

Rsdp make_rsdp(Gpa xsdt) {
    Rsdp rsdp{};
    rsdp.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
    rsdp.oem_id = header({}, 0, 0).oem_id;
    rsdp.revision = 2;
    rsdp.length = sizeof rsdp;
    rsdp.xsdt = xsdt.value();
    rsdp.checksum = checksum(bytes_of(rsdp).first(offsetof(Rsdp, length)));
    rsdp.extended_checksum = checksum(bytes_of(rsdp));
    return rsdp;
}

}  // namespace

Gpa write_acpi_tables(const GuestMemory& memory, const AcpiPlatform& platform) {
    TableWriter writer(memory);
    const Gpa rsdp = writer.reserve(sizeof(Rsdp));
    const Gpa facs = writer.add_bytes(bytes_of(make_facs()));
    const Gpa dsdt = writer.add_bytes(std::span(ftvmm_dsdt, ftvmm_dsdt_end));
    Xsdt xsdt{.header = header({'X', 'S', 'D', 'T'}, 1, sizeof(Xsdt)), .tables = {}};
    xsdt.tables = {writer.add(make_fadt(platform, facs, dsdt)).value(),
                   writer.add(make_madt()).value(), writer.add(make_mcfg()).value()};
    store_value(memory, rsdp, make_rsdp(writer.add(xsdt)));
    return rsdp;
}

}  // namespace ftvmm::boot
