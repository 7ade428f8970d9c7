// A queue and the driver at its other end, in 128 KiB of memory.
#pragma once

#include <array>
#include <cstdint>

#include "driver.h"
#include "vmm/virtio/queue.h"

namespace ftvmm::virtio::testing {

inline constexpr std::uint64_t kMemoryBytes = 0x2'0000;
inline constexpr Gpa kBase{0x4000};
inline constexpr Gpa kTable{0x1'0000};
inline constexpr QueueFeatures kAll{.indirect = true, .event_idx = true};

inline Queue make_queue(const DriverQueue& driver, const QueueFeatures& features) {
    Queue queue;
    queue.set_size(driver.size());
    queue.set_descriptors(driver.descriptors());
    queue.set_available(driver.available());
    queue.set_used(driver.used());
    queue.enable(features);
    return queue;
}

struct QueueFixture {
    GuestMemory memory = make_memory(kMemoryBytes);
    Dma dma{memory};
    DriverQueue driver;
    Queue queue;

    explicit QueueFixture(const QueueFeatures& features = {}, std::uint16_t size = 8)
        : driver(memory, kBase, size), queue(make_queue(driver, features)) {}
};

inline constexpr std::array kBuffers{Buffer{0x1'1000, 16}, Buffer{0x1'2000, 512},
                                     Buffer{0x1'3000, 1, true}};

}  // namespace ftvmm::virtio::testing
