// MSI-X: a function's interrupts as messages (PCI Local Bus 3.0, 6.8.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "vmm/pci/config_space.h"

namespace ftvmm::pci {

inline constexpr std::uint8_t kMsixCapability = 0x11;
// 128 entries of 16 bytes: far more than any function here has queues.
inline constexpr std::uint16_t kMaxMsixVectors = 128;

// One interrupt on its way: a write of `data` to `address`, which the machine's x2APIC decodes.
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    bool operator==(const MsiMessage&) const = default;
};

// The table and the pending bits. Enable and function mask live in the function's configuration
// space, which every call that depends on them is given. A vector signalled while masked is
// remembered and comes out of the call that unmasks it; one signalled while MSI-X is off is lost.
class Msix {
  public:
    struct Entry {
        std::uint64_t address = 0;
        std::uint32_t data = 0;
        bool masked = true;
        bool pending = false;
        bool operator==(const Entry&) const = default;
    };
    struct State {
        std::vector<Entry> entries;
        bool operator==(const State&) const = default;
    };

    // Where table and pending bits lie in a memory BAR.
    struct Place {
        std::uint8_t bar = 0;
        std::uint32_t table = 0;
        std::uint32_t pending = 0;
    };

    // Adds the capability to `config`. `vectors` is from 1 to kMaxMsixVectors.
    Msix(ConfigSpace& config, std::uint16_t vectors, const Place& place);

    [[nodiscard]] std::uint16_t vectors() const {
        return static_cast<std::uint16_t>(entries_.size());
    }
    [[nodiscard]] bool is_enabled(const ConfigSpace& config) const;

    // Raises `vector`: the message to deliver now, if it may go. `vector` may be any number; one
    // that is not in the table does nothing.
    [[nodiscard]] std::optional<MsiMessage> signal(const ConfigSpace& config, std::uint16_t vector);
    // The messages that wait and may go now; call it after a write to `config`.
    [[nodiscard]] std::vector<MsiMessage> release(const ConfigSpace& config);

    // Accesses of 4 or 8 bytes, aligned; others read 0 and write nothing. `offset` is from the
    // start of the table.
    [[nodiscard]] std::uint64_t read_table(std::uint32_t offset, std::uint8_t size) const;
    // Returns the message that the write unmasked, if any.
    [[nodiscard]] std::vector<MsiMessage> write_table(const ConfigSpace& config,
                                                      std::uint32_t offset, std::uint8_t size,
                                                      std::uint64_t value);
    // `offset` is from the start of the pending bits, which take no writes.
    [[nodiscard]] std::uint64_t read_pending(std::uint32_t offset, std::uint8_t size) const;

    [[nodiscard]] State state() const { return {entries_}; }
    [[nodiscard]] Result<void> restore(const State& state);

  private:
    [[nodiscard]] bool may_send(const ConfigSpace& config) const;
    [[nodiscard]] std::uint32_t table_word(std::size_t word) const;
    void set_table_word(std::size_t word, std::uint32_t value);

    std::vector<Entry> entries_;
    std::uint16_t control_ = 0;  // The message control register's offset.
};

}  // namespace ftvmm::pci
