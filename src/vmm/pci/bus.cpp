#include "vmm/pci/bus.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace ftvmm::pci {
namespace {

// The id under which Linux knows a host bridge without quirks of its own.
constexpr Identity kHostBridge{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x06'0000};

constexpr std::uint32_t kAllOnes = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kAddressEnable = 0x8000'0000;
constexpr std::uint32_t kAddressWritable = 0x80ff'fffc;

constexpr std::uint32_t ones(std::uint8_t size) {
    return size >= 4 ? kAllOnes : (1U << (8U * size)) - 1;
}

bool is_config_access(std::uint32_t offset, std::uint8_t size) {
    return (size == 1 || size == 2 || size == 4) && offset % size == 0;
}

// A place in configuration space, or nothing where it is not function 0 of a slot of bus 0.
struct ConfigPlace {
    std::uint8_t slot = 0;
    std::uint16_t offset = 0;
};

std::optional<ConfigPlace> decode_ecam(std::uint32_t offset) {
    if (offset >= kEcamBytes || (offset >> 12U & 7U) != 0) return std::nullopt;
    return ConfigPlace{static_cast<std::uint8_t>(offset >> 15U & 31U),
                       static_cast<std::uint16_t>(offset & 0xfffU)};
}

std::optional<ConfigPlace> decode_address(std::uint32_t address, std::uint32_t byte) {
    if ((address & kAddressEnable) == 0) return std::nullopt;
    if ((address >> 16U & 0xffU) != 0 || (address >> 8U & 7U) != 0) return std::nullopt;
    return ConfigPlace{static_cast<std::uint8_t>(address >> 11U & 31U),
                       static_cast<std::uint16_t>((address & 0xfcU) + byte)};
}

bool is_data_port(std::uint16_t port, std::uint8_t size) {
    return port >= kConfigDataPort && port + size <= kConfigDataPort + 4;
}

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

Bus::Bus() : host_bridge_(kHostBridge) {}

Result<Bus> Bus::from_state(const State& state) {
    if ((state.config_address & ~kAddressWritable) != 0) {
        return fail("the PCI configuration address has bits that the register lacks");
    }
    Bus bus;
    FTVMM_TRY(bus.host_bridge_.restore(state.host_bridge));
    bus.config_address_ = state.config_address;
    return bus;
}

void Bus::attach(std::uint8_t slot, Function& function) {
    FTVMM_CHECK(slot > 0 && slot < kSlots && functions_.at(slot) == nullptr,
                "a function goes into a free slot");
    functions_.at(slot) = &function;
}

void Bus::assign_bars() {
    std::uint64_t memory = kMemoryWindowStart;
    std::uint64_t port = kPortWindowStart;
    for (Function* function : functions_) {
        if (function == nullptr) continue;
        for (std::uint8_t index = 0; index < kBarCount; ++index) {
            const auto bar = function->config().bar(index);
            if (!bar) continue;
            const bool io = bar->kind == BarKind::kIo;
            std::uint64_t& next = io ? port : memory;
            const std::uint64_t unit =
                io ? bar->size : std::max<std::uint64_t>(bar->size, kPageBytes);
            next = align_up(next, unit);
            function->set_bar_address(index, static_cast<std::uint32_t>(next));
            next += unit;
        }
    }
    FTVMM_CHECK(memory <= kMemoryWindowEnd && port <= kPortWindowEnd, "all BARs fit their windows");
}

std::uint32_t Bus::read_config(std::uint8_t slot, std::uint16_t offset, std::uint8_t size) {
    if (slot == 0) return host_bridge_.read(offset, size);
    Function* function = functions_.at(slot);
    return function == nullptr ? ones(size) : function->read_config(offset, size);
}

Effects Bus::write_config(std::uint8_t slot, std::uint16_t offset, std::uint8_t size,
                          std::uint32_t value) {
    if (slot == 0) host_bridge_.write(offset, size, value);
    if (slot == 0 || functions_.at(slot) == nullptr) return {};
    Effects effects = functions_.at(slot)->write_config(offset, size, value);
    effects.slot = slot;
    return effects;
}

std::uint32_t Bus::read_ecam(std::uint32_t offset, std::uint8_t size) {
    const auto place = decode_ecam(offset);
    if (!place || !is_config_access(offset, size)) return ones(size);
    return read_config(place->slot, place->offset, size);
}

Effects Bus::write_ecam(std::uint32_t offset, std::uint8_t size, std::uint32_t value) {
    const auto place = decode_ecam(offset);
    if (!place || !is_config_access(offset, size)) return {};
    return write_config(place->slot, place->offset, size, value);
}

std::optional<std::uint32_t> Bus::read_port(std::uint16_t port, std::uint8_t size) {
    if (port == kConfigAddressPort && size == 4) return config_address_;
    if (is_data_port(port, size)) {
        const auto place = decode_address(config_address_, port - kConfigDataPort);
        if (!place || !is_config_access(port, size)) return ones(size);
        return read_config(place->slot, place->offset, size);
    }
    const auto hit = route_port(port, size);
    if (!hit) return std::nullopt;
    return static_cast<std::uint32_t>(
        functions_.at(hit->slot)->read_bar(hit->bar, hit->offset, size));
}

std::optional<Effects> Bus::write_port(std::uint16_t port, std::uint8_t size, std::uint32_t value) {
    if (port == kConfigAddressPort && size == 4) {
        config_address_ = value & kAddressWritable;
        return Effects{};
    }
    if (is_data_port(port, size)) {
        const auto place = decode_address(config_address_, port - kConfigDataPort);
        if (!place || !is_config_access(port, size)) return Effects{};
        return write_config(place->slot, place->offset, size, value);
    }
    const auto hit = route_port(port, size);
    if (!hit) return std::nullopt;
    Effects effects = functions_.at(hit->slot)->write_bar(hit->bar, hit->offset, size, value);
    effects.slot = hit->slot;
    return effects;
}

std::optional<std::uint64_t> Bus::read_memory(Gpa address, std::uint8_t size) {
    const auto hit = route_memory(address, size);
    if (!hit) return std::nullopt;
    return functions_.at(hit->slot)->read_bar(hit->bar, hit->offset, size);
}

std::optional<Effects> Bus::write_memory(Gpa address, std::uint8_t size, std::uint64_t value) {
    const auto hit = route_memory(address, size);
    if (!hit) return std::nullopt;
    Effects effects = functions_.at(hit->slot)->write_bar(hit->bar, hit->offset, size, value);
    effects.slot = hit->slot;
    return effects;
}

std::optional<BarHit> Bus::route_memory(Gpa address, std::uint8_t size) const {
    if (size != 1 && size != 2 && size != 4 && size != 8) return std::nullopt;
    if (address.value() < kMemoryWindowStart || address.value() >= kMemoryWindowEnd) {
        return std::nullopt;
    }
    return route(BarKind::kMemory, address.value(), size);
}

std::optional<BarHit> Bus::route_port(std::uint16_t port, std::uint8_t size) const {
    if (size != 1 && size != 2 && size != 4) return std::nullopt;
    if (port < kPortWindowStart) return std::nullopt;
    return route(BarKind::kIo, port, size);
}

std::optional<BarHit> Bus::route(BarKind kind, std::uint64_t address, std::uint8_t size) const {
    for (std::uint8_t slot = 1; slot < kSlots; ++slot) {
        if (functions_.at(slot) == nullptr) continue;
        const ConfigSpace& config = functions_.at(slot)->config();
        if (!config.decodes(kind)) continue;
        for (std::uint8_t index = 0; index < kBarCount; ++index) {
            const auto bar = config.bar(index);
            if (!bar || bar->kind != kind) continue;
            const std::uint64_t start = config.bar_address(index);
            if (address < start || address + size > start + bar->size) continue;
            return BarHit{slot, index, static_cast<std::uint32_t>(address - start)};
        }
    }
    return std::nullopt;
}

}  // namespace ftvmm::pci
