// The ACPI tables that describe the machine. Not hardware-reduced; one processor, no IO-APIC.
#pragma once

#include <cstdint>

#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

// The fixed hardware as the device room has it.
struct AcpiPlatform {
    std::uint16_t pm1_event_port;    // PM1a_STS and PM1a_EN
    std::uint16_t pm1_control_port;  // PM1a_CNT
    std::uint16_t pm_timer_port;     // 32 bits wide
    std::uint16_t reset_port;
    std::uint8_t reset_value;
    std::uint8_t sci_irq;  // Of the 8259.
};

// What dsdt.asl says of the same hardware; whoever builds the devices holds them against it.
inline constexpr std::uint16_t kDsdtPmPorts = 0x600;
inline constexpr std::uint8_t kDsdtPmPortCount = 16;
inline constexpr std::uint8_t kDsdtSleepTypeS5 = 5;
inline constexpr std::uint16_t kDsdtSerialPort = 0x3f8;
inline constexpr std::uint8_t kDsdtSerialIrq = 4;
inline constexpr std::uint16_t kDsdtPciPortsStart = 0x1000;  // To 0xffff.
inline constexpr std::uint32_t kDsdtPciMemoryStart = 0xd0000000;
inline constexpr std::uint32_t kDsdtPciMemoryEnd = 0xe0000000;  // The first address past it.

// Writes RSDP, XSDT, FADT, FACS, DSDT, MADT and MCFG into layout.h's kAcpiTables and returns the
// RSDP's address. `memory` has more than 1 MiB.
Gpa write_acpi_tables(const GuestMemory& memory, const AcpiPlatform& platform);

}  // namespace ftvmm::boot
