#include "vmm/virtio/queue.h"

#include <array>
#include <bit>
#include <utility>

#include "base/check.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

// Descriptor flags.
constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
// The available ring's flag: the driver wants no interrupts.
constexpr std::uint16_t kNoInterrupt = 1;

constexpr std::uint32_t kDescriptorBytes = 16;
constexpr std::uint64_t kRingHeader = 4;  // Flags and index, ahead of the entries of both rings.
constexpr std::uint64_t kUsedEntryBytes = 8;

constexpr std::uint64_t kDescriptorAlignment = 16;
constexpr std::uint64_t kAvailableAlignment = 2;
constexpr std::uint64_t kUsedAlignment = 4;

bool is_queue_size(std::uint16_t size) {
    return std::has_single_bit(size) && size <= kMaxQueueSize;
}

// Whether a ring may lie here: aligned, and with its end at no lower an address than its start.
bool is_place(Gpa address, std::uint64_t alignment, std::uint64_t bytes) {
    return address.value() % alignment == 0 && address + bytes >= address;
}

// Both rings have the other side's event index behind their entries.
bool has_places(const Queue::State& state) {
    return is_place(state.descriptors, kDescriptorAlignment,
                    std::uint64_t{kDescriptorBytes} * state.size) &&
           is_place(state.available, kAvailableAlignment,
                    kRingHeader + std::uint64_t{2} * state.size + 2) &&
           is_place(state.used, kUsedAlignment, kRingHeader + kUsedEntryBytes * state.size + 2);
}

std::uint16_t distance(std::uint16_t from, std::uint16_t to) {
    return static_cast<std::uint16_t>(to - from);
}

bool write_u16(Dma& dma, Gpa address, std::uint16_t value) {
    std::array<std::byte, 2> bytes{};
    pci::store_at(std::span(bytes), 0, value);
    return dma.write(address, bytes);
}

}  // namespace

struct Queue::Descriptor {
    Gpa address;
    std::uint32_t length = 0;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
};

Result<Queue> Queue::from_state(const State& state) {
    if (!is_queue_size(state.size)) return fail("a virtqueue's size is not a power of two to 256");
    if (state.enabled && !state.broken && !has_places(state)) {
        return fail("a virtqueue's rings are not aligned or wrap");
    }
    Queue queue;
    queue.state_ = state;
    return queue;
}

void Queue::set_size(std::uint16_t size) {
    if (is_queue_size(size)) state_.size = size;
}

void Queue::enable(const QueueFeatures& features) {
    if (state_.enabled) return;
    state_.enabled = true;
    state_.features = features;
    if (!has_places(state_)) mark_broken();
}

std::optional<std::uint16_t> Queue::read_u16(const Dma& dma, Gpa address) {
    const auto bytes = dma.read(address, 2);
    if (bytes.size() == 2) return pci::load_at<std::uint16_t>(bytes, 0);
    mark_broken();
    return std::nullopt;
}

std::optional<Queue::Descriptor> Queue::read_descriptor(const Dma& dma, Gpa table,
                                                        std::uint32_t index) const {
    const auto bytes = dma.read(table + std::uint64_t{kDescriptorBytes} * index, kDescriptorBytes);
    if (bytes.size() != kDescriptorBytes) return std::nullopt;
    return Descriptor{Gpa(pci::load_at<std::uint64_t>(bytes, 0)),
                      pci::load_at<std::uint32_t>(bytes, 8), pci::load_at<std::uint16_t>(bytes, 12),
                      pci::load_at<std::uint16_t>(bytes, 14)};
}

// Adds a descriptor's range to `chain`; false where it is none that a driver may name. What the
// device reads comes before what it writes (virtio 1.2, 2.7.4.2).
bool Queue::append(const Dma& dma, const Descriptor& descriptor, Chain& chain) const {
    if (!dma.contains(descriptor.address, descriptor.length)) return false;
    if (chain.readable.size() + chain.writable.size() == kMaxQueueSize) return false;
    const bool writable = (descriptor.flags & kWrite) != 0;
    if (!writable && !chain.writable.empty()) return false;
    (writable ? chain.writable : chain.readable).push_back({descriptor.address, descriptor.length});
    return true;
}

// Follows a chain through a table of `count` descriptors. A loop ends when it has taken more steps
// than the table has descriptors.
bool Queue::walk(const Dma& dma, Gpa table, std::uint32_t count, std::uint32_t first, bool nested,
                 Chain& chain) const {
    std::uint32_t index = first;
    for (std::uint32_t step = 0; step < count; ++step) {
        if (index >= count) return false;
        const auto descriptor = read_descriptor(dma, table, index);
        if (!descriptor) return false;
        if ((descriptor->flags & kIndirect) != 0) {
            return walk_indirect(dma, *descriptor, nested, chain);
        }
        if (!append(dma, *descriptor, chain)) return false;
        if ((descriptor->flags & kNext) == 0) return true;
        index = descriptor->next;
    }
    return false;
}

bool Queue::walk_indirect(const Dma& dma, const Descriptor& descriptor, bool nested,
                          Chain& chain) const {
    if (!state_.features.indirect || nested || (descriptor.flags & kNext) != 0) return false;
    if (descriptor.length == 0 || descriptor.length % kDescriptorBytes != 0) return false;
    if (!dma.contains(descriptor.address, descriptor.length)) return false;
    return walk(dma, descriptor.address, descriptor.length / kDescriptorBytes, 0, true, chain);
}

std::optional<Chain> Queue::pop(const Dma& dma) {
    if (!state_.enabled || state_.broken) return std::nullopt;
    const auto available = read_u16(dma, state_.available + 2);
    if (!available || *available == state_.next_available) return std::nullopt;
    if (distance(state_.next_available, *available) > state_.size) {
        mark_broken();
        return std::nullopt;
    }
    const std::uint64_t slot = state_.next_available % state_.size;
    const auto head = read_u16(dma, state_.available + (kRingHeader + 2 * slot));
    if (!head) return std::nullopt;
    Chain chain{.head = *head, .readable = {}, .writable = {}};
    if (!walk(dma, state_.descriptors, state_.size, *head, false, chain)) {
        mark_broken();
        return std::nullopt;
    }
    ++state_.next_available;
    return chain;
}

void Queue::rewind(std::uint16_t chains) {
    state_.next_available = static_cast<std::uint16_t>(state_.next_available - chains);
}

void Queue::push_used(Dma& dma, std::uint16_t head, std::uint32_t written) {
    if (!state_.enabled || state_.broken) return;
    std::array<std::byte, kUsedEntryBytes> entry{};
    pci::store_at(std::span(entry), 0, std::uint32_t{head});
    pci::store_at(std::span(entry), 4, written);
    const std::uint64_t slot = state_.next_used % state_.size;
    const auto next = static_cast<std::uint16_t>(state_.next_used + 1);
    if (!dma.write(state_.used + (kRingHeader + kUsedEntryBytes * slot), entry) ||
        !write_u16(dma, state_.used + 2, next)) {
        mark_broken();
        return;
    }
    state_.next_used = next;
}

void Queue::want_notification(Dma& dma) {
    if (!state_.enabled || state_.broken || !state_.features.event_idx) return;
    const auto available = read_u16(dma, state_.available + 2);
    if (!available) return;
    // avail_event lies behind the used ring's entries.
    const Gpa event = state_.used + (kRingHeader + kUsedEntryBytes * state_.size);
    if (!write_u16(dma, event, *available)) mark_broken();
}

bool Queue::needs_interrupt(const Dma& dma) {
    if (!state_.enabled || state_.broken || state_.signalled_used == state_.next_used) return false;
    const std::uint16_t before = std::exchange(state_.signalled_used, state_.next_used);
    if (!state_.features.event_idx) {
        const auto flags = read_u16(dma, state_.available);
        return flags && (*flags & kNoInterrupt) == 0;
    }
    // used_event lies behind the available ring's entries (virtio 1.2, 2.7.7.1).
    const auto event =
        read_u16(dma, state_.available + (kRingHeader + std::uint64_t{2} * state_.size));
    if (!event) return false;
    const auto passed = static_cast<std::uint16_t>(state_.next_used - *event - 1);
    return passed < distance(before, state_.next_used);
}

}  // namespace ftvmm::virtio
