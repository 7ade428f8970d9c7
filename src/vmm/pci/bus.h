// PCI bus 0: a host bridge and up to 31 functions, reached by ECAM and by ports 0xcf8 and 0xcfc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "vmm/memory/gpa.h"
#include "vmm/pci/function.h"

namespace ftvmm::pci {

inline constexpr std::uint8_t kSlots = 32;  // Slot 0 is the host bridge.

// Where BARs may lie. One moved out of its window by the guest is not decoded.
inline constexpr std::uint64_t kMemoryWindowStart = 0xd000'0000;
inline constexpr std::uint64_t kMemoryWindowEnd = 0xe000'0000;  // The first address past it.
inline constexpr std::uint32_t kPortWindowStart = 0x1000;
inline constexpr std::uint32_t kPortWindowEnd = 0x1'0000;
// The ECAM region of bus 0: 4 KiB for each of 8 functions in 32 slots.
inline constexpr std::uint32_t kEcamBytes = 0x10'0000;

inline constexpr std::uint16_t kConfigAddressPort = 0xcf8;
inline constexpr std::uint16_t kConfigDataPort = 0xcfc;

// The BAR that an address or port lies in.
struct BarHit {
    std::uint8_t slot = 0;
    std::uint8_t bar = 0;
    std::uint32_t offset = 0;  // Into the BAR.
    bool operator==(const BarHit&) const = default;
};

// Functions are attached once, then assign_bars() does what firmware would. The bus does not own
// its functions: the machine owns both, and the functions outlive the bus. One thread.
class Bus {
  public:
    // The bus's own: each function has a State of its own.
    struct State {
        std::uint32_t config_address = 0;
        ConfigSpace::State host_bridge;
        bool operator==(const State&) const = default;
    };

    Bus();
    static Result<Bus> from_state(const State& state);
    [[nodiscard]] State state() const { return {config_address_, host_bridge_.state()}; }

    // `slot` is from 1 to 31 and free.
    void attach(std::uint8_t slot, Function& function);
    // Places every BAR in its window, in slot order, memory BARs on pages of their own. The guest
    // still has to switch decoding on.
    void assign_bars();

    // ECAM: `offset` into the region. `size` is 1, 2 or 4 and the access aligned; others, and slots
    // that are empty, read as all ones.
    [[nodiscard]] std::uint32_t read_ecam(std::uint32_t offset, std::uint8_t size);
    [[nodiscard]] Effects write_ecam(std::uint32_t offset, std::uint8_t size, std::uint32_t value);

    // IN and OUT of `size` bytes; empty where the port is neither the bus's nor a function's.
    [[nodiscard]] std::optional<std::uint32_t> read_port(std::uint16_t port, std::uint8_t size);
    [[nodiscard]] std::optional<Effects> write_port(std::uint16_t port, std::uint8_t size,
                                                    std::uint32_t value);
    // MMIO of `size` bytes; empty where no BAR lies.
    [[nodiscard]] std::optional<std::uint64_t> read_memory(Gpa address, std::uint8_t size);
    [[nodiscard]] std::optional<Effects> write_memory(Gpa address, std::uint8_t size,
                                                      std::uint64_t value);

    // Which BAR all of the `size` bytes at an address or port lie in, lowest slot first.
    [[nodiscard]] std::optional<BarHit> route_memory(Gpa address, std::uint8_t size) const;
    [[nodiscard]] std::optional<BarHit> route_port(std::uint16_t port, std::uint8_t size) const;

  private:
    [[nodiscard]] std::optional<BarHit> route(BarKind kind, std::uint64_t address,
                                              std::uint8_t size) const;
    [[nodiscard]] std::uint32_t read_config(std::uint8_t slot, std::uint16_t offset,
                                            std::uint8_t size);
    [[nodiscard]] Effects write_config(std::uint8_t slot, std::uint16_t offset, std::uint8_t size,
                                       std::uint32_t value);

    ConfigSpace host_bridge_;
    std::array<Function*, kSlots> functions_{};
    std::uint32_t config_address_ = 0;
};

}  // namespace ftvmm::pci
