// Virtio over PCI, modern only (virtio 1.2, 4.1): what all virtio devices share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/pci/config_space.h"
#include "vmm/pci/function.h"
#include "vmm/pci/msix.h"
#include "vmm/virtio/queue.h"

namespace ftvmm::virtio {

// Interrupts for the machine to deliver, in order.
using Interrupts = std::vector<pci::MsiMessage>;

// Feature bits that belong to no device type.
namespace feature {
inline constexpr std::uint64_t kIndirect = std::uint64_t{1} << 28U;
inline constexpr std::uint64_t kEventIdx = std::uint64_t{1} << 29U;
inline constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32U;
}  // namespace feature

// Bits of the device status.
namespace status {
inline constexpr std::uint8_t kAcknowledge = 1;
inline constexpr std::uint8_t kDriver = 2;
inline constexpr std::uint8_t kDriverOk = 4;
inline constexpr std::uint8_t kFeaturesOk = 8;
inline constexpr std::uint8_t kNeedsReset = 0x40;
inline constexpr std::uint8_t kFailed = 0x80;
}  // namespace status

// A queue or the configuration without an interrupt.
inline constexpr std::uint16_t kNoVector = 0xffff;

// What lies where. The doorbell is an I/O port: notifying is then one OUT, where a write to memory
// would make KVM decode an instruction of the guest's. Linux takes either.
inline constexpr std::uint8_t kMemoryBar = 0;
inline constexpr std::uint8_t kDoorbellBar = 1;
inline constexpr std::uint32_t kMemoryBarBytes = 0x4000;
inline constexpr std::uint32_t kDoorbellBarBytes = 16;
inline constexpr std::uint32_t kCommonOffset = 0x0000;
inline constexpr std::uint32_t kCommonBytes = 56;
inline constexpr std::uint32_t kIsrOffset = 0x1000;
inline constexpr std::uint32_t kDeviceOffset = 0x2000;
inline constexpr std::uint32_t kMsixTableOffset = 0x3000;
inline constexpr std::uint32_t kMsixPendingOffset = 0x3800;

// What a device type is made of.
struct DeviceType {
    std::uint16_t id = 0;            // Virtio's number for it: 1 net, 2 blk, 3 console, 4 rng.
    std::uint32_t class_code = 0;    // PCI's.
    std::uint64_t features = 0;      // Offered, beside those of the transport.
    std::uint16_t queues = 0;        // From 1 to 16.
    std::uint16_t config_bytes = 0;  // Of device-specific configuration, up to 256.
};

// The base of each device: registers, status and queues. Status goes
//
//   0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK     as the driver writes it
//   FEATURES_OK is refused                  features that were not offered, or no VERSION_1
//   any -> NEEDS_RESET                      the driver broke a queue: nothing runs until reset
//   any -> 0                                the driver writes 0: all but BARs and MSI-X forgotten;
//                                           it reads NEEDS_RESET for as long as is_settling()
//
// There is no interrupt line: without MSI-X a driver must look at the ISR by itself. Owned by the
// machine; one thread.
class Transport : public pci::Function {
  public:
    struct State {
        pci::ConfigSpace::State config;
        pci::Msix::State msix;
        std::vector<Queue::State> queues;
        std::vector<std::uint16_t> queue_vectors;
        std::vector<std::byte> device_config;
        std::uint32_t device_feature_select = 0;
        std::uint32_t driver_feature_select = 0;
        std::uint64_t driver_features = 0;
        std::uint16_t config_vector = kNoVector;
        std::uint16_t queue_select = 0;
        std::uint8_t status = 0;
        std::uint8_t config_generation = 0;
        std::uint8_t isr = 0;
        bool operator==(const State&) const = default;
    };

    ~Transport() override = default;

    [[nodiscard]] const pci::ConfigSpace& config() const final { return config_; }
    void set_bar_address(std::uint8_t index, std::uint32_t address) final;
    [[nodiscard]] std::uint32_t read_config(std::uint16_t offset, std::uint8_t size) final;
    [[nodiscard]] pci::Effects write_config(std::uint16_t offset, std::uint8_t size,
                                            std::uint32_t value) final;
    [[nodiscard]] std::uint64_t read_bar(std::uint8_t bar, std::uint32_t offset,
                                         std::uint8_t size) final;
    // A doorbell comes back as an effect: the machine then calls the device's notify().
    [[nodiscard]] pci::Effects write_bar(std::uint8_t bar, std::uint32_t offset, std::uint8_t size,
                                         std::uint64_t value) final;

    // Whether the driver has finished its set-up and nothing is broken.
    [[nodiscard]] bool is_running() const;
    // The features that the driver took, from FEATURES_OK on; none before.
    [[nodiscard]] std::uint64_t negotiated() const;
    [[nodiscard]] std::uint8_t device_status() const { return status_; }
    [[nodiscard]] State transport_state() const;

  protected:
    explicit Transport(const DeviceType& type);
    Transport(const Transport&) = default;
    Transport(Transport&&) = default;
    Transport& operator=(const Transport&) = default;
    Transport& operator=(Transport&&) = default;

    // The driver has reset the device: what was in flight is forgotten.
    virtual void on_reset() = 0;
    // Whether somebody may still write to the guest's memory for what was: until nobody does, the
    // status does not read as 0, and the driver waits (virtio 1.2, 4.1.4.3.2).
    [[nodiscard]] virtual bool is_settling() const { return false; }

    // Whether queue `index` exists and may be worked on now.
    [[nodiscard]] bool may_work(std::uint16_t index) const;
    [[nodiscard]] Queue& queue(std::uint16_t index) { return queues_.at(index); }
    // Ends a stretch of work on queue `index`: adds the interrupt that is due, if any, and turns a
    // broken queue into NEEDS_RESET.
    void finish(const Dma& dma, std::uint16_t index, Interrupts& interrupts);
    // Writes device configuration before power-on.
    [[nodiscard]] std::span<std::byte> device_config() { return device_config_; }
    // Changes it afterwards: the driver sees a new generation and is interrupted.
    [[nodiscard]] Interrupts change_config(std::size_t offset, std::span<const std::byte> bytes);

    // Takes over `state`; on an error nothing has changed.
    [[nodiscard]] Result<void> restore(const State& state);

  private:
    void add_capabilities();
    void add_capability(std::uint8_t type, std::uint8_t bar, std::uint32_t offset,
                        std::uint32_t length, std::span<const std::byte> more = {});
    void reset();
    [[nodiscard]] bool is_acceptable(std::uint64_t features) const;
    void write_status(std::uint8_t value);
    [[nodiscard]] std::array<std::byte, kCommonBytes> common_image() const;
    void write_common(std::uint32_t offset, std::uint8_t size, std::uint64_t value);
    void write_common_queue(std::uint32_t offset, std::uint8_t size, std::uint64_t value);
    void write_address(std::uint32_t offset, std::uint8_t size, std::uint64_t value);
    void write_driver_features(std::uint32_t value);
    [[nodiscard]] std::uint16_t usable_vector(std::uint64_t vector) const;
    void interrupt(std::uint16_t vector, std::uint8_t isr_bit, Interrupts& interrupts);
    // The access that the PCI configuration access capability describes, if it is one.
    struct Window;
    [[nodiscard]] Window window() const;

    pci::ConfigSpace config_;
    pci::Msix msix_;
    std::vector<Queue> queues_;
    std::vector<std::uint16_t> queue_vectors_;
    std::vector<std::byte> device_config_;
    std::uint64_t offered_;
    std::uint16_t window_ = 0;  // The offset of the PCI configuration access capability.
    std::uint32_t device_feature_select_ = 0;
    std::uint32_t driver_feature_select_ = 0;
    std::uint64_t driver_features_ = 0;
    std::uint16_t config_vector_ = kNoVector;
    std::uint16_t queue_select_ = 0;
    std::uint8_t status_ = 0;
    std::uint8_t config_generation_ = 0;
    std::uint8_t isr_ = 0;
};

}  // namespace ftvmm::virtio
