#include "vmm/pci/config_space.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::pci {
namespace {

constexpr std::uint16_t kStatusHasCapabilities = 0x10;
constexpr std::uint16_t kInterruptLine = 0x3c;
constexpr std::uint16_t kCacheLineSize = 0x0c;
constexpr std::uint32_t kIoBarBit = 1;
constexpr std::uint32_t kSmallestMemoryBar = 16;
constexpr std::uint32_t kSmallestIoBar = 4;
constexpr std::uint32_t kLargestIoBar = 256;
constexpr std::uint32_t kPortMask = 0xffff;  // x86 has 64 Ki ports.

constexpr std::uint16_t bar_register(std::uint8_t index) {
    return static_cast<std::uint16_t>(reg::kBar0 + 4 * index);
}

constexpr std::uint32_t address_mask(const Bar& bar) {
    const std::uint32_t mask = ~(bar.size - 1);
    return bar.kind == BarKind::kIo ? mask & kPortMask : mask;
}

}  // namespace

ConfigSpace::ConfigSpace(const Identity& identity) {
    store_at(bytes_, reg::kVendorId, identity.vendor);
    store_at(bytes_, reg::kDeviceId, identity.device);
    store_at(bytes_, reg::kRevision, identity.revision);
    store(std::span(bytes_).subspan(reg::kClass), 3, identity.class_code);
    store_at(bytes_, reg::kSubsystemVendor, identity.subsystem_vendor);
    store_at(bytes_, reg::kSubsystem, identity.subsystem);
    allow(reg::kCommand, 2,
          command::kIo | command::kMemory | command::kBusMaster | command::kParity |
              command::kSerr | command::kNoInterruptLine);
    // Two bytes that hold what software leaves there and mean nothing to the function.
    allow(kCacheLineSize, 1, 0xff);
    allow(kInterruptLine, 1, 0xff);
}

void ConfigSpace::allow(std::uint16_t offset, std::uint8_t size, std::uint32_t mask) {
    store(std::span(writable_).subspan(offset), size, mask);
}

void ConfigSpace::add_bar(std::uint8_t index, const Bar& bar) {
    const bool io = bar.kind == BarKind::kIo;
    FTVMM_CHECK(index < kBarCount && !bars_.at(index), "each BAR is added once");
    FTVMM_CHECK(std::has_single_bit(bar.size) &&
                    bar.size >= (io ? kSmallestIoBar : kSmallestMemoryBar) &&
                    (!io || bar.size <= kLargestIoBar),
                "a BAR's size is a power of two within its kind's limits");
    bars_.at(index) = bar;
    store_at(bytes_, bar_register(index), io ? kIoBarBit : 0U);
    allow(bar_register(index), 4, address_mask(bar));
}

std::uint8_t ConfigSpace::add_capability(std::uint8_t id, std::span<const std::byte> body) {
    const std::uint16_t offset = free_;
    const std::size_t length = (2 + body.size() + 3) & ~std::size_t{3};
    FTVMM_CHECK(offset + length <= kConfigBytes, "the capabilities fit");
    store_at(bytes_, offset, id);
    std::ranges::copy(body, bytes_.begin() + offset + 2);
    bytes_.at(last_link_) = static_cast<std::byte>(offset);
    bytes_.at(reg::kStatus) |= std::byte{kStatusHasCapabilities};
    last_link_ = static_cast<std::uint16_t>(offset + 1);
    free_ = static_cast<std::uint16_t>(offset + length);
    return static_cast<std::uint8_t>(offset);
}

void ConfigSpace::make_writable(std::uint16_t offset, std::span<const std::byte> mask) {
    FTVMM_CHECK(offset + mask.size() <= kConfigBytes, "a writable field lies inside");
    std::ranges::copy(mask, writable_.begin() + offset);
}

std::uint32_t ConfigSpace::read(std::uint16_t offset, std::uint8_t size) const {
    if (offset + size > static_cast<int>(kConfigBytes)) return 0;
    return static_cast<std::uint32_t>(load(std::span(bytes_).subspan(offset), size));
}

void ConfigSpace::write(std::uint16_t offset, std::uint8_t size, std::uint32_t value) {
    if (offset + size > static_cast<int>(kConfigBytes)) return;
    for (std::uint8_t i = 0; i < size; ++i) {
        const std::byte mask = writable_.at(offset + i);
        std::byte& target = bytes_.at(offset + i);
        target = (target & ~mask) | (static_cast<std::byte>(value >> (8U * i)) & mask);
    }
}

std::uint32_t ConfigSpace::bar_address(std::uint8_t index) const {
    FTVMM_CHECK(bars_.at(index), "the BAR exists");
    return read(bar_register(index), 4) & address_mask(*bars_.at(index));
}

void ConfigSpace::set_bar_address(std::uint8_t index, std::uint32_t address) {
    FTVMM_CHECK(bars_.at(index) && (address & ~address_mask(*bars_.at(index))) == 0,
                "a BAR lies at a multiple of its size");
    write(bar_register(index), 4, address);
}

bool ConfigSpace::decodes(BarKind kind) const {
    return (read(reg::kCommand, 2) & (kind == BarKind::kIo ? command::kIo : command::kMemory)) != 0;
}

bool ConfigSpace::is_bus_master() const {
    return (read(reg::kCommand, 2) & command::kBusMaster) != 0;
}

Result<void> ConfigSpace::restore(const State& state) {
    for (std::size_t i = 0; i < kConfigBytes; ++i) {
        if (((state.bytes.at(i) ^ bytes_.at(i)) & ~writable_.at(i)) != std::byte{0}) {
            return fail("the PCI configuration space is that of another function");
        }
    }
    bytes_ = state.bytes;
    return {};
}

}  // namespace ftvmm::pci
