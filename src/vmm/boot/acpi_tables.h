// ACPI's tables as they lie in memory: ACPI 6.3, 5.2, with its names in lower case; MCFG is of the
// PCI Firmware Specification 3.2, 4.1.2. For acpi.cpp alone.
#pragma once

#include <array>
#include <cstdint>

namespace ftvmm::boot::acpi {

struct [[gnu::packed]] Header {
    std::array<char, 4> signature;
    std::uint32_t length;
    std::uint8_t revision;
    std::uint8_t checksum;  // All bytes of a table add up to 0.
    std::array<char, 6> oem_id;
    std::array<char, 8> oem_table_id;
    std::uint32_t oem_revision;
    std::array<char, 4> creator_id;
    std::uint32_t creator_revision;
};
static_assert(sizeof(Header) == 36);

// 5.2.3.2 "Generic Address Structure"
struct [[gnu::packed]] Address {
    std::uint8_t space;
    std::uint8_t bits;
    std::uint8_t bit_offset;
    std::uint8_t access_size;
    std::uint64_t address;
};
static_assert(sizeof(Address) == 12);

// 5.2.5.3; `checksum` is over the first 20 bytes, `extended_checksum` over all.
struct [[gnu::packed]] Rsdp {
    std::array<char, 8> signature;
    std::uint8_t checksum;
    std::array<char, 6> oem_id;
    std::uint8_t revision;
    std::uint32_t rsdt;
    std::uint32_t length;
    std::uint64_t xsdt;
    std::uint8_t extended_checksum;
    std::array<std::uint8_t, 3> reserved;
};
static_assert(sizeof(Rsdp) == 36);

// 5.2.8
struct [[gnu::packed]] Xsdt {
    Header header;
    std::array<std::uint64_t, 3> tables;
};

// 5.2.9
struct [[gnu::packed]] Fadt {
    Header header;
    std::uint32_t firmware_ctrl;
    std::uint32_t dsdt;
    std::uint8_t reserved_44;
    std::uint8_t preferred_pm_profile;
    std::uint16_t sci_int;
    std::uint32_t smi_cmd;
    std::uint8_t acpi_enable;
    std::uint8_t acpi_disable;
    std::uint8_t s4bios_req;
    std::uint8_t pstate_cnt;
    std::uint32_t pm1a_evt_blk;
    std::uint32_t pm1b_evt_blk;
    std::uint32_t pm1a_cnt_blk;
    std::uint32_t pm1b_cnt_blk;
    std::uint32_t pm2_cnt_blk;
    std::uint32_t pm_tmr_blk;
    std::uint32_t gpe0_blk;
    std::uint32_t gpe1_blk;
    std::uint8_t pm1_evt_len;
    std::uint8_t pm1_cnt_len;
    std::uint8_t pm2_cnt_len;
    std::uint8_t pm_tmr_len;
    std::uint8_t gpe0_blk_len;
    std::uint8_t gpe1_blk_len;
    std::uint8_t gpe1_base;
    std::uint8_t cst_cnt;
    std::uint16_t p_lvl2_lat;
    std::uint16_t p_lvl3_lat;
    std::uint16_t flush_size;
    std::uint16_t flush_stride;
    std::uint8_t duty_offset;
    std::uint8_t duty_width;
    std::uint8_t day_alrm;
    std::uint8_t mon_alrm;
    std::uint8_t century;
    std::uint16_t iapc_boot_arch;
    std::uint8_t reserved_111;
    std::uint32_t flags;
    Address reset_reg;
    std::uint8_t reset_value;
    std::uint16_t arm_boot_arch;
    std::uint8_t minor_version;
    std::uint64_t x_firmware_ctrl;
    std::uint64_t x_dsdt;
    Address x_pm1a_evt_blk;
    Address x_pm1b_evt_blk;
    Address x_pm1a_cnt_blk;
    Address x_pm1b_cnt_blk;
    Address x_pm2_cnt_blk;
    Address x_pm_tmr_blk;
    Address x_gpe0_blk;
    Address x_gpe1_blk;
    Address sleep_control_reg;
    Address sleep_status_reg;
    std::uint64_t hypervisor_vendor;
};
static_assert(sizeof(Fadt) == 276);

// 5.2.10; without a checksum, aligned to 64.
struct [[gnu::packed]] Facs {
    std::array<char, 4> signature;
    std::uint32_t length;
    std::uint32_t hardware_signature;
    std::uint32_t firmware_waking_vector;
    std::uint32_t global_lock;
    std::uint32_t flags;
    std::uint64_t x_firmware_waking_vector;
    std::uint8_t version;
    std::array<std::uint8_t, 31> reserved;
};
static_assert(sizeof(Facs) == 64);

// 5.2.12.2 "Processor Local APIC Structure"
struct [[gnu::packed]] LocalApic {
    std::uint8_t type;
    std::uint8_t length;
    std::uint8_t processor_uid;
    std::uint8_t apic_id;
    std::uint32_t flags;
};
static_assert(sizeof(LocalApic) == 8);

// 5.2.12, with its one entry.
struct [[gnu::packed]] Madt {
    Header header;
    std::uint32_t local_apic_address;
    std::uint32_t flags;
    LocalApic processor;
};

struct [[gnu::packed]] Mcfg {
    Header header;
    std::uint64_t reserved;
    std::uint64_t base;
    std::uint16_t segment;
    std::uint8_t first_bus;
    std::uint8_t last_bus;
    std::uint32_t reserved_end;
};
static_assert(sizeof(Mcfg) == 60);

}  // namespace ftvmm::boot::acpi
