#include "vmm/virtio/transport.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

constexpr std::uint16_t kVendor = 0x1af4;
constexpr std::uint16_t kFirstDevice = 0x1040;
constexpr std::uint8_t kModernRevision = 1;

// Capabilities (virtio 1.2, 4.1.4).
constexpr std::uint8_t kVendorCapability = 0x09;
constexpr std::uint8_t kCommonCapability = 1;
constexpr std::uint8_t kNotifyCapability = 2;
constexpr std::uint8_t kIsrCapability = 3;
constexpr std::uint8_t kDeviceCapability = 4;
constexpr std::uint8_t kWindowCapability = 5;
constexpr std::size_t kCapabilityBytes = 16;
// Fields of the window capability, from its own start.
constexpr std::uint16_t kWindowBar = 4;
constexpr std::uint16_t kWindowOffset = 8;
constexpr std::uint16_t kWindowLength = 12;
constexpr std::uint16_t kWindowData = 16;

constexpr std::uint8_t kIsrQueue = 1;
constexpr std::uint8_t kIsrConfig = 2;
constexpr std::uint8_t kIsrBits = kIsrQueue | kIsrConfig;

constexpr std::uint16_t kMostQueues = 16;
constexpr std::uint16_t kMostConfigBytes = 256;
constexpr std::uint8_t kDriverStatusBits = status::kAcknowledge | status::kDriver |
                                           status::kDriverOk | status::kFeaturesOk |
                                           status::kFailed;

// The bytes of `image` that an access names; past its end there is nothing.
std::uint64_t read_image(std::span<const std::byte> image, std::uint32_t offset,
                         std::uint8_t size) {
    if (offset > image.size() || size > image.size() - offset) return 0;
    return pci::load(image.subspan(offset), size);
}

pci::Identity identity(const DeviceType& type) {
    return {.vendor = kVendor,
            .device = static_cast<std::uint16_t>(kFirstDevice + type.id),
            .revision = kModernRevision,
            .class_code = type.class_code,
            .subsystem_vendor = kVendor,
            .subsystem = static_cast<std::uint16_t>(kFirstDevice + type.id)};
}

pci::ConfigSpace make_config(const DeviceType& type) {
    pci::ConfigSpace config(identity(type));
    config.add_bar(kMemoryBar, {pci::BarKind::kMemory, kMemoryBarBytes});
    config.add_bar(kDoorbellBar, {pci::BarKind::kIo, kDoorbellBarBytes});
    return config;
}

}  // namespace

struct Transport::Window {
    std::uint8_t bar = 0;
    std::uint32_t offset = 0;
    std::uint8_t size = 0;  // 0 where the guest has described no access that can be made.
};

// One vector for each queue and one for the configuration, as Linux asks for first.
Transport::Transport(const DeviceType& type)
    : config_(make_config(type)),
      msix_(config_, static_cast<std::uint16_t>(type.queues + 1),
            {.bar = kMemoryBar, .table = kMsixTableOffset, .pending = kMsixPendingOffset}),
      queues_(type.queues),
      queue_vectors_(type.queues, kNoVector),
      device_config_(type.config_bytes),
      offered_(type.features | feature::kIndirect | feature::kEventIdx | feature::kVersion1) {
    FTVMM_CHECK(type.queues > 0 && type.queues <= kMostQueues, "a device has 1 to 16 queues");
    FTVMM_CHECK(type.config_bytes <= kMostConfigBytes, "device configuration fits its window");
    add_capabilities();
}

void Transport::add_capability(std::uint8_t type, std::uint8_t bar, std::uint32_t offset,
                               std::uint32_t length, std::span<const std::byte> more) {
    std::vector<std::byte> body(kCapabilityBytes - 2);
    pci::store_at(std::span(body), 0, static_cast<std::uint8_t>(kCapabilityBytes + more.size()));
    pci::store_at(std::span(body), 1, type);
    pci::store_at(std::span(body), 2, bar);
    pci::store_at(std::span(body), 6, offset);
    pci::store_at(std::span(body), 10, length);
    body.insert(body.end(), more.begin(), more.end());
    window_ = config_.add_capability(kVendorCapability, body);
}

void Transport::add_capabilities() {
    // A multiplier of 0: every queue rings at the same port, and says which it is.
    const std::array<std::byte, 4> four_zeroes{};
    add_capability(kCommonCapability, kMemoryBar, kCommonOffset, kCommonBytes);
    add_capability(kNotifyCapability, kDoorbellBar, 0, kDoorbellBarBytes, four_zeroes);
    add_capability(kIsrCapability, kMemoryBar, kIsrOffset, 1);
    if (!device_config_.empty()) {
        add_capability(kDeviceCapability, kMemoryBar, kDeviceOffset,
                       static_cast<std::uint32_t>(device_config_.size()));
    }
    // Last, so that window_ stays at it.
    add_capability(kWindowCapability, 0, 0, 0, four_zeroes);
    std::array<std::byte, 8> mask{};
    mask.fill(std::byte{0xff});
    config_.make_writable(window_ + kWindowBar, std::span(mask).first(1));
    config_.make_writable(window_ + kWindowOffset, mask);
}

void Transport::set_bar_address(std::uint8_t index, std::uint32_t address) {
    config_.set_bar_address(index, address);
}

Transport::Window Transport::window() const {
    const auto field = [this](std::uint16_t offset, std::uint8_t size) {
        return config_.read(static_cast<std::uint16_t>(window_ + offset), size);
    };
    const Window access{static_cast<std::uint8_t>(field(kWindowBar, 1)), field(kWindowOffset, 4),
                        static_cast<std::uint8_t>(field(kWindowLength, 1))};
    const std::uint32_t length = field(kWindowLength, 4);
    const auto bar = access.bar < pci::kBarCount ? config_.bar(access.bar) : std::nullopt;
    const bool fits = bar && (length == 1 || length == 2 || length == 4) &&
                      access.offset % length == 0 && access.offset < bar->size;
    return fits ? access : Window{};
}

std::uint32_t Transport::read_config(std::uint16_t offset, std::uint8_t size) {
    if (offset != window_ + kWindowData) return config_.read(offset, size);
    const Window access = window();
    if (access.size == 0 || access.size != size) return 0;
    return static_cast<std::uint32_t>(read_bar(access.bar, access.offset, access.size));
}

pci::Effects Transport::write_config(std::uint16_t offset, std::uint8_t size, std::uint32_t value) {
    if (offset == window_ + kWindowData) {
        const Window access = window();
        if (access.size == 0 || access.size != size) return {};
        return write_bar(access.bar, access.offset, access.size, value);
    }
    config_.write(offset, size, value);
    pci::Effects effects;
    effects.messages = msix_.release(config_);
    return effects;
}

std::uint64_t Transport::read_bar(std::uint8_t bar, std::uint32_t offset, std::uint8_t size) {
    if (bar != kMemoryBar) return 0;
    if (offset < kIsrOffset) return read_image(common_image(), offset, size);
    if (offset < kDeviceOffset) return offset == kIsrOffset ? std::exchange(isr_, {}) : 0;
    if (offset < kMsixTableOffset) return read_image(device_config_, offset - kDeviceOffset, size);
    if (offset < kMsixPendingOffset) return msix_.read_table(offset - kMsixTableOffset, size);
    return msix_.read_pending(offset - kMsixPendingOffset, size);
}

pci::Effects Transport::write_bar(std::uint8_t bar, std::uint32_t offset, std::uint8_t size,
                                  std::uint64_t value) {
    pci::Effects effects;
    if (bar == kDoorbellBar) {
        // The value is the queue's number, 16 bits at the start (virtio 1.2, 4.1.5.2).
        const auto index = static_cast<std::uint16_t>(value);
        if (offset == 0 && size >= 2 && may_work(index)) effects.doorbell = index;
        return effects;
    }
    if (offset < kCommonBytes) {
        write_common(offset, size, value);
    } else if (offset >= kMsixTableOffset && offset < kMsixPendingOffset) {
        effects.messages = msix_.write_table(config_, offset - kMsixTableOffset, size, value);
    }
    return effects;
}

bool Transport::is_acceptable(std::uint64_t features) const {
    return (features & ~offered_) == 0 && (features & feature::kVersion1) != 0;
}

// The driver sets bits one after another and clears them by a reset alone. It learns that its
// features were refused by finding FEATURES_OK still clear.
void Transport::write_status(std::uint8_t value) {
    if (value == 0) return reset();
    if (!is_acceptable(driver_features_)) value &= static_cast<std::uint8_t>(~status::kFeaturesOk);
    status_ |= static_cast<std::uint8_t>(value & kDriverStatusBits);
    if ((status_ & status::kFeaturesOk) == 0) {
        status_ &= static_cast<std::uint8_t>(~status::kDriverOk);
    }
}

void Transport::reset() {
    for (Queue& queue : queues_)
        queue.reset();
    std::ranges::fill(queue_vectors_, kNoVector);
    device_feature_select_ = 0;
    driver_feature_select_ = 0;
    driver_features_ = 0;
    config_vector_ = kNoVector;
    queue_select_ = 0;
    status_ = 0;
    isr_ = 0;
    on_reset();
}

std::uint16_t Transport::usable_vector(std::uint64_t vector) const {
    return vector < msix_.vectors() ? static_cast<std::uint16_t>(vector) : kNoVector;
}

bool Transport::is_running() const {
    return (status_ & (status::kDriverOk | status::kNeedsReset)) == status::kDriverOk;
}

std::uint64_t Transport::negotiated() const {
    return (status_ & status::kFeaturesOk) != 0 ? driver_features_ : 0;
}

// Without bus mastering a function does not touch memory.
bool Transport::may_work(std::uint16_t index) const {
    return is_running() && config_.is_bus_master() && index < queues_.size() &&
           queues_[index].is_enabled();
}

void Transport::interrupt(std::uint16_t vector, std::uint8_t isr_bit, Interrupts& interrupts) {
    if (!msix_.is_enabled(config_)) {
        isr_ |= isr_bit;
        return;
    }
    if (const auto message = msix_.signal(config_, vector)) interrupts.push_back(*message);
}

void Transport::finish(const Dma& dma, std::uint16_t index, Interrupts& interrupts) {
    Queue& queue = queues_.at(index);
    if (queue.needs_interrupt(dma)) interrupt(queue_vectors_[index], kIsrQueue, interrupts);
    if (!queue.is_broken() || (status_ & status::kNeedsReset) != 0) return;
    status_ |= status::kNeedsReset;
    interrupt(config_vector_, kIsrConfig, interrupts);
}

Interrupts Transport::change_config(std::size_t offset, std::span<const std::byte> bytes) {
    FTVMM_CHECK(offset + bytes.size() <= device_config_.size(),
                "the field is in the configuration");
    std::ranges::copy(bytes, device_config_.begin() + static_cast<std::ptrdiff_t>(offset));
    ++config_generation_;
    Interrupts interrupts;
    if (is_running()) interrupt(config_vector_, kIsrConfig, interrupts);
    return interrupts;
}

Transport::State Transport::transport_state() const {
    State state;
    state.config = config_.state();
    state.msix = msix_.state();
    for (const Queue& queue : queues_)
        state.queues.push_back(queue.state());
    state.queue_vectors = queue_vectors_;
    state.device_config = device_config_;
    state.device_feature_select = device_feature_select_;
    state.driver_feature_select = driver_feature_select_;
    state.driver_features = driver_features_;
    state.config_vector = config_vector_;
    state.queue_select = queue_select_;
    state.status = status_;
    state.config_generation = config_generation_;
    state.isr = isr_;
    return state;
}

Result<void> Transport::restore(const State& state) {
    if (state.queues.size() != queues_.size() || state.queue_vectors.size() != queues_.size() ||
        state.device_config.size() != device_config_.size()) {
        return fail("the virtio state is that of another device");
    }
    const auto is_vector = [this](std::uint16_t vector) {
        return vector == kNoVector || vector < msix_.vectors();
    };
    if (!is_vector(state.config_vector) || !std::ranges::all_of(state.queue_vectors, is_vector)) {
        return fail("a virtio vector is not in the MSI-X table");
    }
    const bool features_ok = (state.status & status::kFeaturesOk) != 0;
    const bool driver_ok = (state.status & status::kDriverOk) != 0;
    if ((state.status & ~(kDriverStatusBits | status::kNeedsReset)) != 0 ||
        (state.isr & ~kIsrBits) != 0 || (features_ok && !is_acceptable(state.driver_features)) ||
        (driver_ok && !features_ok)) {
        return fail("the virtio state has bits that no device sets");
    }
    std::vector<Queue> queues;
    for (const Queue::State& queue : state.queues) {
        FTVMM_ASSIGN(Queue restored, Queue::from_state(queue));
        queues.push_back(restored);
    }
    // Nothing is taken over before all of it is known to be good.
    pci::ConfigSpace config = config_;
    pci::Msix msix = msix_;
    FTVMM_TRY(config.restore(state.config));
    FTVMM_TRY(msix.restore(state.msix));
    config_ = config;
    msix_ = std::move(msix);
    queues_ = std::move(queues);
    queue_vectors_ = state.queue_vectors;
    device_config_ = state.device_config;
    device_feature_select_ = state.device_feature_select;
    driver_feature_select_ = state.driver_feature_select;
    driver_features_ = state.driver_features;
    config_vector_ = state.config_vector;
    queue_select_ = state.queue_select;
    status_ = state.status;
    config_generation_ = state.config_generation;
    isr_ = state.isr;
    return {};
}

}  // namespace ftvmm::virtio
