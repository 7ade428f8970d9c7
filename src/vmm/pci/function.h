// What the bus needs of a PCI function, and what a function can ask of the machine in return.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/pci/config_space.h"
#include "vmm/pci/msix.h"

namespace ftvmm::pci {

// What follows from one access, for the machine to carry out in this order.
struct Effects {
    std::uint8_t slot = 0;                  // The function it came from; the bus fills it in.
    std::vector<MsiMessage> messages;       // Interrupts to deliver.
    std::optional<std::uint16_t> doorbell;  // The device has work, in the queue of this number.
};

// Implemented by each device on the bus. Pure: what a call returns follows from the calls before it
// alone. One thread.
class Function {
  public:
    virtual ~Function() = default;

    [[nodiscard]] virtual const ConfigSpace& config() const = 0;
    // Places a BAR; the bus alone calls it, at power-on.
    virtual void set_bar_address(std::uint8_t index, std::uint32_t address) = 0;

    // `size` is 1, 2 or 4. A read may have side effects of its own.
    [[nodiscard]] virtual std::uint32_t read_config(std::uint16_t offset, std::uint8_t size) = 0;
    [[nodiscard]] virtual Effects write_config(std::uint16_t offset, std::uint8_t size,
                                               std::uint32_t value) = 0;
    // `bar` exists, `size` is 1, 2, 4 or 8, and the access lies inside the BAR.
    [[nodiscard]] virtual std::uint64_t read_bar(std::uint8_t bar, std::uint32_t offset,
                                                 std::uint8_t size) = 0;
    [[nodiscard]] virtual Effects write_bar(std::uint8_t bar, std::uint32_t offset,
                                            std::uint8_t size, std::uint64_t value) = 0;

  protected:
    Function() = default;
    Function(const Function&) = default;
    Function(Function&&) = default;
    Function& operator=(const Function&) = default;
    Function& operator=(Function&&) = default;
};

}  // namespace ftvmm::pci
