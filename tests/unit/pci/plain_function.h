// A PCI function for tests: bytes behind each BAR, MSI-X behind the first.
#pragma once

#include <tuple>

#include "vmm/pci/function.h"

namespace ftvmm::pci {

class PlainFunction final : public Function {
  public:
    PlainFunction()
        : config_({.vendor = 0x1234, .device = 0x5678, .class_code = 0xff'0000}),
          msix_((config_.add_bar(0, {BarKind::kMemory, 0x1000}),
                 config_.add_bar(1, {BarKind::kIo, 16}), config_),
                4, {.bar = 0, .table = 0x800, .pending = 0xc00}) {}

    [[nodiscard]] const ConfigSpace& config() const override { return config_; }
    void set_bar_address(std::uint8_t index, std::uint32_t address) override {
        config_.set_bar_address(index, address);
    }
    std::uint32_t read_config(std::uint16_t offset, std::uint8_t size) override {
        return config_.read(offset, size);
    }
    Effects write_config(std::uint16_t offset, std::uint8_t size, std::uint32_t value) override {
        config_.write(offset, size, value);
        return {.messages = msix_.release(config_), .doorbell = {}};
    }
    std::uint64_t read_bar(std::uint8_t bar, std::uint32_t offset, std::uint8_t size) override {
        last_ = {bar, offset, size};
        return 0x1122'3344'5566'7788;
    }
    Effects write_bar(std::uint8_t bar, std::uint32_t offset, std::uint8_t size,
                      std::uint64_t value) override {
        last_ = {bar, offset, size};
        return {.messages = {}, .doorbell = static_cast<std::uint16_t>(value)};
    }

    [[nodiscard]] std::tuple<int, int, int> last() const { return last_; }
    Msix& msix() { return msix_; }
    ConfigSpace& mutable_config() { return config_; }

  private:
    ConfigSpace config_;
    Msix msix_;
    std::tuple<int, int, int> last_;
};

}  // namespace ftvmm::pci
