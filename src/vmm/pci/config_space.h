// The configuration space of one PCI function: a type 0 header, BARs and capabilities.
//
// The layout is made once, before power-on; after that the guest writes the bits it may, and
// nothing else changes. Sizing a BAR needs no code of its own: the address bits below its size do
// not take what is written (PCI Local Bus 3.0, 6.2.5.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"

namespace ftvmm::pci {

inline constexpr std::size_t kConfigBytes = 256;
inline constexpr std::uint8_t kBarCount = 6;

// Offsets in the header (PCI Local Bus 3.0, 6.1).
namespace reg {
inline constexpr std::uint16_t kVendorId = 0x00;
inline constexpr std::uint16_t kDeviceId = 0x02;
inline constexpr std::uint16_t kCommand = 0x04;
inline constexpr std::uint16_t kStatus = 0x06;
inline constexpr std::uint16_t kRevision = 0x08;
inline constexpr std::uint16_t kClass = 0x09;
inline constexpr std::uint16_t kBar0 = 0x10;
inline constexpr std::uint16_t kSubsystemVendor = 0x2c;
inline constexpr std::uint16_t kSubsystem = 0x2e;
inline constexpr std::uint16_t kCapabilities = 0x34;
inline constexpr std::uint16_t kFirstCapability = 0x40;
}  // namespace reg

// Bits of the command register.
namespace command {
inline constexpr std::uint16_t kIo = 0x001;
inline constexpr std::uint16_t kMemory = 0x002;
inline constexpr std::uint16_t kBusMaster = 0x004;
inline constexpr std::uint16_t kParity = 0x040;
inline constexpr std::uint16_t kSerr = 0x100;
inline constexpr std::uint16_t kNoInterruptLine = 0x400;
}  // namespace command

struct Identity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  // 24 bits: class, subclass, programming interface.
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
};

// Memory BARs are 32 bits wide and not prefetchable.
enum class BarKind : std::uint8_t { kMemory, kIo };

struct Bar {
    BarKind kind = BarKind::kMemory;
    std::uint32_t size = 0;  // In bytes, a power of two: from 16 for memory, 4 to 256 for I/O.
    bool operator==(const Bar&) const = default;
};

// Owned by its function; the machine's thread alone.
class ConfigSpace {
  public:
    // What the guest can change, and all that it reads.
    struct State {
        std::array<std::byte, kConfigBytes> bytes{};
        bool operator==(const State&) const = default;
    };

    explicit ConfigSpace(const Identity& identity);

    // Making the layout. `index` is below kBarCount and not yet taken.
    void add_bar(std::uint8_t index, const Bar& bar);
    // Appends a capability: `body` is what follows its id and next pointer. Returns its offset.
    std::uint8_t add_capability(std::uint8_t id, std::span<const std::byte> body);
    // Lets the guest write the bits of `mask` in the bytes from `offset`.
    void make_writable(std::uint16_t offset, std::span<const std::byte> mask);

    // `size` is 1, 2 or 4. What lies past the 256 bytes reads as 0 and takes no write, as extended
    // configuration space without a capability does.
    [[nodiscard]] std::uint32_t read(std::uint16_t offset, std::uint8_t size) const;
    void write(std::uint16_t offset, std::uint8_t size, std::uint32_t value);

    // The BAR at `index`, if there is one.
    [[nodiscard]] std::optional<Bar> bar(std::uint8_t index) const { return bars_.at(index); }
    // Where the BAR at `index`, which exists, lies now.
    [[nodiscard]] std::uint32_t bar_address(std::uint8_t index) const;
    // Places a BAR as firmware would; `address` is a multiple of its size.
    void set_bar_address(std::uint8_t index, std::uint32_t address);
    // Whether the command register lets accesses of this kind reach the BARs.
    [[nodiscard]] bool decodes(BarKind kind) const;
    // Whether the function may write to memory, which is also what an MSI is.
    [[nodiscard]] bool is_bus_master() const;

    [[nodiscard]] State state() const { return {bytes_}; }
    // Takes over `state`, which must differ from this layout only in bits that the guest may write.
    [[nodiscard]] Result<void> restore(const State& state);

  private:
    void allow(std::uint16_t offset, std::uint8_t size, std::uint32_t mask);

    std::array<std::byte, kConfigBytes> bytes_{};
    std::array<std::byte, kConfigBytes> writable_{};
    std::array<std::optional<Bar>, kBarCount> bars_{};
    std::uint16_t last_link_ = reg::kCapabilities;  // Where the next capability's offset goes.
    std::uint16_t free_ = reg::kFirstCapability;
};

}  // namespace ftvmm::pci
