// The transport's common configuration: what each register shows, and what a write to it does.
#include <array>

#include "vmm/pci/little_endian.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {
namespace {

// Registers (virtio 1.2, 4.1.4.3).
constexpr std::uint32_t kDeviceFeatureSelect = 0;
constexpr std::uint32_t kDeviceFeature = 4;
constexpr std::uint32_t kDriverFeatureSelect = 8;
constexpr std::uint32_t kDriverFeature = 12;
constexpr std::uint32_t kConfigVector = 16;
constexpr std::uint32_t kQueueCount = 18;
constexpr std::uint32_t kStatus = 20;
constexpr std::uint32_t kGeneration = 21;
constexpr std::uint32_t kQueueSelect = 22;
constexpr std::uint32_t kQueueSize = 24;
constexpr std::uint32_t kQueueVector = 26;
constexpr std::uint32_t kQueueEnable = 28;
constexpr std::uint32_t kQueueDescriptors = 32;
constexpr std::uint32_t kQueueAvailable = 40;
constexpr std::uint32_t kQueueUsed = 48;

// The `select`-th 32 of 64 bits; there are no more features than those.
std::uint32_t half(std::uint64_t value, std::uint32_t select) {
    return select > 1 ? 0 : static_cast<std::uint32_t>(value >> (32U * select));
}

std::uint64_t with_half(std::uint64_t old, bool high, std::uint32_t value) {
    return high ? (old & 0xffff'ffffU) | std::uint64_t{value} << 32U : (old >> 32U << 32U) | value;
}

}  // namespace

std::array<std::byte, kCommonBytes> Transport::common_image() const {
    std::array<std::byte, kCommonBytes> image{};
    const auto put = [&image](std::uint32_t at, auto value) {
        pci::store_at(std::span<std::byte>(image), at, value);
    };
    put(kDeviceFeatureSelect, device_feature_select_);
    put(kDeviceFeature, half(offered_, device_feature_select_));
    put(kDriverFeatureSelect, driver_feature_select_);
    put(kDriverFeature, half(driver_features_, driver_feature_select_));
    put(kConfigVector, config_vector_);
    put(kQueueCount, static_cast<std::uint16_t>(queues_.size()));
    put(kStatus,
        is_settling() ? static_cast<std::uint8_t>(status_ | status::kNeedsReset) : status_);
    put(kGeneration, config_generation_);
    put(kQueueSelect, queue_select_);
    // A queue that does not exist has size 0.
    if (queue_select_ < queues_.size()) {
        const Queue::State& queue = queues_[queue_select_].state();
        put(kQueueSize, queue.size);
        put(kQueueVector, queue_vectors_[queue_select_]);
        put(kQueueEnable, static_cast<std::uint16_t>(queue.enabled ? 1 : 0));
        put(kQueueDescriptors, queue.descriptors.value());
        put(kQueueAvailable, queue.available.value());
        put(kQueueUsed, queue.used.value());
    }
    return image;
}

// Each field takes a write of its own width; anything else is dropped (virtio 1.2, 4.1.3.1).
void Transport::write_common(std::uint32_t offset, std::uint8_t size, std::uint64_t value) {
    const auto word = static_cast<std::uint32_t>(value);
    const auto is = [offset, size](std::uint32_t at, std::uint8_t width) {
        return offset == at && size == width;
    };
    if (is(kDeviceFeatureSelect, 4)) {
        device_feature_select_ = word;
    } else if (is(kDriverFeatureSelect, 4)) {
        driver_feature_select_ = word;
    } else if (is(kDriverFeature, 4)) {
        write_driver_features(word);
    } else if (is(kConfigVector, 2)) {
        config_vector_ = usable_vector(value);
    } else if (is(kStatus, 1)) {
        write_status(static_cast<std::uint8_t>(value));
    } else if (is(kQueueSelect, 2)) {
        queue_select_ = static_cast<std::uint16_t>(value);
    } else if (queue_select_ < queues_.size()) {
        write_common_queue(offset, size, value);
    }
}

void Transport::write_common_queue(std::uint32_t offset, std::uint8_t size, std::uint64_t value) {
    Queue& queue = queues_[queue_select_];
    if (offset == kQueueVector && size == 2) {
        queue_vectors_[queue_select_] = usable_vector(value);
    } else if (queue.is_enabled()) {
        return;
    } else if (offset == kQueueSize && size == 2) {
        queue.set_size(static_cast<std::uint16_t>(value));
    } else if (offset == kQueueEnable && size == 2 && value == 1) {
        queue.enable({.indirect = (negotiated() & feature::kIndirect) != 0,
                      .event_idx = (negotiated() & feature::kEventIdx) != 0});
    } else if (offset >= kQueueDescriptors) {
        write_address(offset, size, value);
    }
}

// The three addresses take 8 bytes, or 4 for either half.
void Transport::write_address(std::uint32_t offset, std::uint8_t size, std::uint64_t value) {
    if ((size != 8 && size != 4) || offset % size != 0) return;
    Queue& queue = queues_[queue_select_];
    const bool high = offset % 8 == 4;
    const auto merge = [&](Gpa old) {
        if (size == 8) return Gpa(value);
        return Gpa(with_half(old.value(), high, static_cast<std::uint32_t>(value)));
    };
    switch (offset & ~7U) {
        case kQueueDescriptors:
            queue.set_descriptors(merge(queue.state().descriptors));
            break;
        case kQueueAvailable:
            queue.set_available(merge(queue.state().available));
            break;
        case kQueueUsed:
            queue.set_used(merge(queue.state().used));
            break;
        default:
            break;
    }
}

void Transport::write_driver_features(std::uint32_t value) {
    if ((status_ & status::kFeaturesOk) != 0 || driver_feature_select_ > 1) return;
    driver_features_ = with_half(driver_features_, driver_feature_select_ == 1, value);
}

}  // namespace ftvmm::virtio
