// A driver that starts a platform's virtio devices as Linux does: through ECAM, BARs and MSI-X.
#pragma once

#include <cstdint>
#include <vector>

#include "../virtio/driver.h"
#include "vmm/boot/memory_map.h"
#include "vmm/machine/platform.h"

namespace ftvmm::machine::testing {

// Where the configuration of the device in `slot` lies.
inline Gpa config_of(std::uint8_t slot) {
    return boot::kEcamBase + (std::uint64_t{slot} << 15U);
}

// Where its memory BAR lies.
inline Gpa bar_of(Platform& platform, std::uint8_t slot) {
    return Gpa(platform.read_memory(config_of(slot) + pci::reg::kBar0, 4) & ~15ULL);
}

struct StartedDevice {
    Gpa bar;
    std::uint16_t doorbell = 0;  // The port.
    std::vector<virtio::testing::DriverQueue> queues;
};

// Which device, and where its rings go.
struct DeviceStart {
    std::uint8_t slot = 0;
    std::uint16_t queues = 1;
    Gpa rings{};                    // Of the first queue.
    std::uint64_t rings_bytes = 0;  // From one queue's to the next.
    std::uint16_t ring_size = 0;
    std::uint32_t without = 0;  // Features, of each half, that the driver leaves out.
};

// Starts it with a vector for its configuration and one for each queue.
inline StartedDevice start_device(const GuestMemory& memory, Platform& platform,
                                  const DeviceStart& start) {
    namespace common = virtio::testing::common;
    const Gpa config = config_of(start.slot);
    platform.write_memory(config + 4, 2, 7);
    const Gpa bar = bar_of(platform, start.slot);
    const std::uint64_t port = platform.read_memory(config + 0x14, 4) & ~3ULL;
    for (std::uint32_t vector = 0; vector <= start.queues; ++vector) {
        const Gpa entry = bar + virtio::kMsixTableOffset + 16ULL * vector;
        platform.write_memory(entry, 8, 0xfee0'0000);
        platform.write_memory(entry + 8, 4, 0x30 + 4ULL * start.slot + vector);
        platform.write_memory(entry + 12, 4, 0);
    }
    // MSI-X is each function's first capability.
    platform.write_memory(config + pci::reg::kFirstCapability + 2, 2, 0x8000);
    platform.write_memory(bar + common::kStatus, 1, 3);
    for (const std::uint32_t half : {0U, 1U}) {
        platform.write_memory(bar + common::kDeviceFeatureSelect, 4, half);
        platform.write_memory(bar + common::kDriverFeatureSelect, 4, half);
        const auto offered = platform.read_memory(bar + common::kDeviceFeature, 4);
        const std::uint64_t without = start.without;
        platform.write_memory(bar + common::kDriverFeature, 4, offered & ~without);
    }
    platform.write_memory(bar + common::kStatus, 1, 11);
    StartedDevice started{bar, static_cast<std::uint16_t>(port), {}};
    for (std::uint16_t index = 0; index < start.queues; ++index) {
        const Gpa base = start.rings + start.rings_bytes * index;
        const virtio::testing::DriverQueue queue(memory, base, start.ring_size);
        platform.write_memory(bar + common::kQueueSelect, 2, index);
        platform.write_memory(bar + common::kQueueSize, 2, start.ring_size);
        platform.write_memory(bar + common::kQueueVector, 2, index + 1U);
        platform.write_memory(bar + common::kQueueDescriptors, 4, queue.descriptors().value());
        platform.write_memory(bar + common::kQueueAvailable, 4, queue.available().value());
        platform.write_memory(bar + common::kQueueUsed, 4, queue.used().value());
        platform.write_memory(bar + common::kQueueEnable, 2, 1);
        started.queues.push_back(queue);
    }
    platform.write_memory(bar + common::kStatus, 1, 15);
    return started;
}

}  // namespace ftvmm::machine::testing
