// A virtio driver for tests: it sets up devices and queues as Linux does, and on request writes
// what no sane driver would.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/pci/little_endian.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio::testing {

inline constexpr std::uint16_t kNext = 1;
inline constexpr std::uint16_t kWrite = 2;
inline constexpr std::uint16_t kIndirect = 4;

// A queue's rings lie in this much memory, from its base on.
inline constexpr std::uint64_t kQueueBytes = 0x4000;

inline GuestMemory make_memory(std::uint64_t size) {
    auto memory = GuestMemory::create(size);
    if (!memory) throw std::runtime_error(memory.error().line());
    return std::move(*memory);
}

template <class T>
void poke(const GuestMemory& memory, Gpa address, T value) {
    pci::store_at(memory.find(address, sizeof(T)), 0, value);
}

template <class T>
T peek(const GuestMemory& memory, Gpa address) {
    return pci::load_at<T>(memory.find(address, sizeof(T)), 0);
}

struct Descriptor {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
};

inline void write_descriptor(const GuestMemory& memory, Gpa table, std::uint32_t index,
                             const Descriptor& descriptor) {
    const Gpa at = table + std::uint64_t{16} * index;
    poke(memory, at, descriptor.address);
    poke(memory, at + 8, descriptor.length);
    poke(memory, at + 12, descriptor.flags);
    poke(memory, at + 14, descriptor.next);
}

struct Buffer {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    bool writable = false;
};

struct Used {
    std::uint32_t head = 0;
    std::uint32_t written = 0;
    bool operator==(const Used&) const = default;
};

// The driver's side of one split queue. Descriptors are taken round robin: a test gives back no
// more than it took.
class DriverQueue {
  public:
    DriverQueue(const GuestMemory& memory, Gpa base, std::uint16_t size)
        : memory_(&memory), base_(base), size_(size) {}

    // Goes on in a copy of the memory.
    void use(const GuestMemory& memory) { memory_ = &memory; }

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] Gpa descriptors() const { return base_; }
    [[nodiscard]] Gpa available() const { return base_ + 0x1000; }
    [[nodiscard]] Gpa used() const { return base_ + 0x2000; }
    [[nodiscard]] Gpa used_event() const { return available() + (4 + 2ULL * size_); }
    [[nodiscard]] Gpa available_event() const { return used() + (4 + 8ULL * size_); }

    void set(std::uint16_t index, const Descriptor& descriptor) {
        write_descriptor(*memory_, descriptors(), index, descriptor);
    }
    // Makes the chain that starts at `head` available.
    void offer(std::uint16_t head) {
        poke(*memory_, available() + (4 + 2ULL * (next_available_ % size_)), head);
        set_available_index(static_cast<std::uint16_t>(next_available_ + 1));
    }
    void set_available_index(std::uint16_t index) {
        next_available_ = index;
        poke(*memory_, available() + 2, index);
    }
    // Offers a chain of plain descriptors and returns its head.
    std::uint16_t add(std::span<const Buffer> buffers) {
        const std::uint16_t head = next_free_;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const auto next = static_cast<std::uint16_t>((next_free_ + 1) % size_);
            set(next_free_, link(buffers[i], i + 1 == buffers.size(), next));
            next_free_ = next;
        }
        offer(head);
        return head;
    }
    // Offers the same as one descriptor with the table at `table`.
    std::uint16_t add_indirect(std::span<const Buffer> buffers, Gpa table) {
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            write_descriptor(
                *memory_, table, static_cast<std::uint32_t>(i),
                link(buffers[i], i + 1 == buffers.size(), static_cast<std::uint16_t>(i + 1)));
        }
        const std::uint16_t head = next_free_;
        set(head, {table.value(), static_cast<std::uint32_t>(16 * buffers.size()), kIndirect, 0});
        next_free_ = static_cast<std::uint16_t>((next_free_ + 1) % size_);
        offer(head);
        return head;
    }
    // The next chain that the device gave back.
    std::optional<Used> take_used() {
        if (peek<std::uint16_t>(*memory_, used() + 2) == next_used_) return std::nullopt;
        const Gpa at = used() + (4 + 8ULL * (next_used_ % size_));
        ++next_used_;
        return Used{peek<std::uint32_t>(*memory_, at), peek<std::uint32_t>(*memory_, at + 4)};
    }

  private:
    static Descriptor link(const Buffer& buffer, bool last, std::uint16_t next) {
        const auto flags = (buffer.writable ? kWrite : 0U) | (last ? 0U : kNext);
        return {buffer.address, buffer.length, static_cast<std::uint16_t>(flags), next};
    }

    const GuestMemory* memory_;
    Gpa base_;
    std::uint16_t size_;
    std::uint16_t next_free_ = 0;
    std::uint16_t next_available_ = 0;
    std::uint16_t next_used_ = 0;
};

// Registers of the common configuration (virtio 1.2, 4.1.4.3).
namespace common {
inline constexpr std::uint32_t kDeviceFeatureSelect = 0;
inline constexpr std::uint32_t kDeviceFeature = 4;
inline constexpr std::uint32_t kDriverFeatureSelect = 8;
inline constexpr std::uint32_t kDriverFeature = 12;
inline constexpr std::uint32_t kConfigVector = 16;
inline constexpr std::uint32_t kQueueCount = 18;
inline constexpr std::uint32_t kStatus = 20;
inline constexpr std::uint32_t kGeneration = 21;
inline constexpr std::uint32_t kQueueSelect = 22;
inline constexpr std::uint32_t kQueueSize = 24;
inline constexpr std::uint32_t kQueueVector = 26;
inline constexpr std::uint32_t kQueueEnable = 28;
inline constexpr std::uint32_t kQueueDescriptors = 32;
inline constexpr std::uint32_t kQueueAvailable = 40;
inline constexpr std::uint32_t kQueueUsed = 48;
}  // namespace common

// The driver's side of a device. Vector 0 is the configuration's, vector q + 1 that of queue q; a
// vector's message has the data kFirstData + vector.
class Driver {
  public:
    static constexpr std::uint32_t kFirstData = 0x40;

    Driver(const GuestMemory& memory, Transport& device) : memory_(&memory), device_(&device) {}

    std::uint64_t read(std::uint32_t offset, std::uint8_t size) {
        return device_->read_bar(kMemoryBar, offset, size);
    }
    void write(std::uint32_t offset, std::uint8_t size, std::uint64_t value) {
        (void)device_->write_bar(kMemoryBar, offset, size, value);
    }
    std::uint8_t status() { return static_cast<std::uint8_t>(read(common::kStatus, 1)); }
    void add_status(std::uint8_t bits) {
        write(common::kStatus, 1, static_cast<std::uint8_t>(status() | bits));
    }
    std::uint64_t offered() {
        write(common::kDeviceFeatureSelect, 4, 0);
        const std::uint64_t low = read(common::kDeviceFeature, 4);
        write(common::kDeviceFeatureSelect, 4, 1);
        return low | read(common::kDeviceFeature, 4) << 32U;
    }

    // Decoding, bus mastering and MSI-X on, every vector unmasked.
    void enable_pci() {
        (void)device_->write_config(
            pci::reg::kCommand, 2,
            pci::command::kIo | pci::command::kMemory | pci::command::kBusMaster);
        const auto count = static_cast<std::uint32_t>(read(common::kQueueCount, 2)) + 1;
        for (std::uint32_t vector = 0; vector < count; ++vector) {
            const std::uint32_t entry = kMsixTableOffset + 16 * vector;
            write(entry, 8, 0xfee0'0000);
            write(entry + 8, 4, kFirstData + vector);
            write(entry + 12, 4, 0);
        }
        (void)device_->write_config(msix_control(), 2, 0x8000);
    }
    // The offset of MSI-X's message control.
    [[nodiscard]] std::uint16_t msix_control() const {
        std::uint32_t at = device_->config().read(pci::reg::kCapabilities, 1);
        while (at != 0 &&
               device_->config().read(static_cast<std::uint16_t>(at), 1) != pci::kMsixCapability) {
            at = device_->config().read(static_cast<std::uint16_t>(at + 1), 1);
        }
        return static_cast<std::uint16_t>(at + 2);
    }
    // From reset to FEATURES_OK; whether the device took the features.
    bool negotiate(std::uint64_t features) {
        write(common::kStatus, 1, 0);
        add_status(status::kAcknowledge);
        add_status(status::kDriver);
        write(common::kDriverFeatureSelect, 4, 0);
        write(common::kDriverFeature, 4, features & 0xffff'ffffU);
        write(common::kDriverFeatureSelect, 4, 1);
        write(common::kDriverFeature, 4, features >> 32U);
        add_status(status::kFeaturesOk);
        return (status() & status::kFeaturesOk) != 0;
    }
    // Sets up and enables queue `index` with its rings at `base`.
    DriverQueue set_up(std::uint16_t index, Gpa base, std::uint16_t size) {
        DriverQueue queue(*memory_, base, size);
        write(common::kConfigVector, 2, 0);
        write(common::kQueueSelect, 2, index);
        write(common::kQueueSize, 2, size);
        write(common::kQueueVector, 2, index + 1U);
        write_address(common::kQueueDescriptors, queue.descriptors());
        write_address(common::kQueueAvailable, queue.available());
        write_address(common::kQueueUsed, queue.used());
        write(common::kQueueEnable, 2, 1);
        return queue;
    }
    // All of it, for a device with one queue.
    DriverQueue start(std::uint64_t features, Gpa base, std::uint16_t size) {
        enable_pci();
        if (!negotiate(features)) throw std::runtime_error("the features were refused");
        DriverQueue queue = set_up(0, base, size);
        add_status(status::kDriverOk);
        return queue;
    }
    std::optional<std::uint16_t> ring(std::uint16_t index) {
        return device_->write_bar(kDoorbellBar, 0, 2, index).doorbell;
    }

  private:
    // Linux writes an address as two halves.
    void write_address(std::uint32_t offset, Gpa address) {
        write(offset, 4, address.value() & 0xffff'ffffU);
        write(offset + 4, 4, address.value() >> 32U);
    }

    const GuestMemory* memory_;
    Transport* device_;
};

}  // namespace ftvmm::virtio::testing
