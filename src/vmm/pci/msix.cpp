#include "vmm/pci/msix.h"

#include <array>
#include <span>

#include "base/check.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::pci {
namespace {

constexpr std::uint16_t kEnable = 0x8000;
constexpr std::uint16_t kFunctionMask = 0x4000;
constexpr std::uint32_t kVectorMask = 1;
constexpr std::size_t kEntryWords = 4;

bool is_aligned_access(std::uint32_t offset, std::uint8_t size) {
    return (size == 4 || size == 8) && offset % size == 0;
}

}  // namespace

Msix::Msix(ConfigSpace& config, std::uint16_t vectors, const Place& place) : entries_(vectors) {
    FTVMM_CHECK(vectors > 0 && vectors <= kMaxMsixVectors, "a function has 1 to 128 vectors");
    FTVMM_CHECK(place.table % 8 == 0 && place.pending % 8 == 0, "the low three bits name the BAR");
    std::array<std::byte, 10> body{};
    store_at(std::span(body), 0, static_cast<std::uint16_t>(vectors - 1));
    store_at(std::span(body), 2, place.table | place.bar);
    store_at(std::span(body), 6, place.pending | place.bar);
    control_ = static_cast<std::uint16_t>(config.add_capability(kMsixCapability, body) + 2);
    std::array<std::byte, 2> mask{};
    store_at(std::span(mask), 0, static_cast<std::uint16_t>(kEnable | kFunctionMask));
    config.make_writable(control_, mask);
}

bool Msix::is_enabled(const ConfigSpace& config) const {
    return (config.read(control_, 2) & kEnable) != 0;
}

bool Msix::may_send(const ConfigSpace& config) const {
    const std::uint32_t control = config.read(control_, 2);
    return (control & kEnable) != 0 && (control & kFunctionMask) == 0 && config.is_bus_master();
}

std::optional<MsiMessage> Msix::signal(const ConfigSpace& config, std::uint16_t vector) {
    if (vector >= entries_.size() || !is_enabled(config)) return std::nullopt;
    Entry& entry = entries_[vector];
    if (entry.masked || !may_send(config)) {
        entry.pending = true;
        return std::nullopt;
    }
    return MsiMessage{entry.address, entry.data};
}

std::vector<MsiMessage> Msix::release(const ConfigSpace& config) {
    std::vector<MsiMessage> messages;
    if (!may_send(config)) return messages;
    for (Entry& entry : entries_) {
        if (entry.masked || !entry.pending) continue;
        entry.pending = false;
        messages.push_back({entry.address, entry.data});
    }
    return messages;
}

std::uint32_t Msix::table_word(std::size_t word) const {
    if (word / kEntryWords >= entries_.size()) return 0;
    const Entry& entry = entries_[word / kEntryWords];
    switch (word % kEntryWords) {
        case 0:
            return static_cast<std::uint32_t>(entry.address);
        case 1:
            return static_cast<std::uint32_t>(entry.address >> 32U);
        case 2:
            return entry.data;
        default:
            return entry.masked ? kVectorMask : 0;
    }
}

void Msix::set_table_word(std::size_t word, std::uint32_t value) {
    if (word / kEntryWords >= entries_.size()) return;
    Entry& entry = entries_[word / kEntryWords];
    switch (word % kEntryWords) {
        case 0:
            // The two low bits are always 0: the address is that of a 32-bit word.
            entry.address = (entry.address >> 32U << 32U) | (value & ~3U);
            break;
        case 1:
            entry.address = std::uint64_t{value} << 32U | (entry.address & 0xffff'ffffU);
            break;
        case 2:
            entry.data = value;
            break;
        default:
            entry.masked = (value & kVectorMask) != 0;
            break;
    }
}

std::uint64_t Msix::read_table(std::uint32_t offset, std::uint8_t size) const {
    if (!is_aligned_access(offset, size)) return 0;
    std::uint64_t value = table_word(offset / 4);
    if (size == 8) value |= std::uint64_t{table_word(offset / 4 + 1)} << 32U;
    return value;
}

std::vector<MsiMessage> Msix::write_table(const ConfigSpace& config, std::uint32_t offset,
                                          std::uint8_t size, std::uint64_t value) {
    if (!is_aligned_access(offset, size)) return {};
    set_table_word(offset / 4, static_cast<std::uint32_t>(value));
    if (size == 8) set_table_word(offset / 4 + 1, static_cast<std::uint32_t>(value >> 32U));
    return release(config);
}

std::uint64_t Msix::read_pending(std::uint32_t offset, std::uint8_t size) const {
    if (!is_aligned_access(offset, size)) return 0;
    std::uint64_t value = 0;
    for (std::size_t bit = 0; bit < std::size_t{8} * size; ++bit) {
        const std::size_t vector = std::size_t{8} * offset + bit;
        if (vector < entries_.size() && entries_[vector].pending) value |= std::uint64_t{1} << bit;
    }
    return value;
}

Result<void> Msix::restore(const State& state) {
    if (state.entries.size() != entries_.size()) {
        return fail("the MSI-X table is that of another function");
    }
    for (const Entry& entry : state.entries) {
        if (entry.address % 4 != 0) return fail("an MSI-X address is not that of a word");
    }
    entries_ = state.entries;
    return {};
}

}  // namespace ftvmm::pci
