// A guest that does as chance will have it, through the machine's own doors: it starts virtio as a
// driver does, uses its devices, and pokes at everything else.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "base/random.h"
#include "platform_driver.h"

namespace ftvmm::machine::testing {

inline constexpr std::uint64_t kGuestBytes = 0x10'0000;
inline constexpr std::uint16_t kRingSize = 16;

inline VirtioConfig guest_config() {
    VirtioConfig config;
    config.disks = {{.sectors = 1024, .id = "a"}, {.sectors = 64, .read_only = true, .id = "b"}};
    config.nics = {{{2, 0, 0, 0, 0, 1}}};
    return config;
}

// A machine without its processor.
struct Guest {
    GuestMemory memory = virtio::testing::make_memory(kGuestBytes);
    Platform platform{guest_config(), memory};
};

// What one step shows: held against what the same step shows elsewhere.
using Seen = std::vector<std::uint64_t>;

// The guest's mind and the world around it. Where the machine is copied, copy it along.
class RandomGuest {
  public:
    explicit RandomGuest(std::uint64_t seed) : seed_(seed) {}

    // Starts the driver of every device.
    void start(Guest& guest) {
        start_device(guest, kRngSlot, 1);
        start_device(guest, kConsoleSlot, 2);
        start_device(guest, kFirstDiskSlot, 1);
        start_device(guest, kFirstDiskSlot + 1, 1);
        start_device(guest, kFirstNicSlot, 2);
        (void)guest.platform.take_outputs();
    }

    // The same mind in a copy of its machine.
    [[nodiscard]] RandomGuest moved_to(const Guest& guest) const {
        RandomGuest copy = *this;
        for (Ring& ring : copy.rings_)
            ring.queue.use(guest.memory);
        return copy;
    }

    Seen step(Guest& guest) {
        SeededEntropy random(seed_++ << 32U);
        Seen seen;
        switch (random.below(8)) {
            case 0:
                poke_ports(guest, random, seen);
                break;
            case 1:
                poke_msrs(guest, random, seen);
                break;
            case 2:
                poke_devices(guest, random, seen);
                break;
            case 3:
            case 4:
                use_queue(guest, random);
                break;
            case 5:
                give_input(guest, random);
                break;
            case 6:
                answer(guest, random);
                break;
            default:
                if (guest.platform.is_interrupt_pending()) {
                    seen.push_back(guest.platform.acknowledge_interrupt());
                }
                break;
        }
        guest.platform.begin_landmark();
        take_outputs(guest, seen);
        seen.push_back(guest.platform.next_deadline() ? 1 : 0);
        seen.push_back(guest.platform.is_interrupt_pending() ? 1 : 0);
        seen.push_back(guest.platform.take_nmi() ? 1 : 0);
        (void)guest.platform.take_events();
        return seen;
    }

    // Requests that the world has not answered, which a restored machine asks for again.
    std::vector<replay::output::DiskRequest> disk_requests;
    std::vector<replay::output::EntropyRequest> entropy_requests;

  private:
    struct Ring {
        std::uint8_t slot;
        std::uint16_t index;
        std::uint16_t doorbell;  // The port.
        virtio::testing::DriverQueue queue;
    };

    void start_device(Guest& guest, std::uint8_t slot, std::uint16_t queues) {
        const auto rings = Gpa(0x1'0000 + virtio::testing::kQueueBytes * rings_.size());
        const auto started = testing::start_device(guest.memory, guest.platform,
                                                   {.slot = slot,
                                                    .queues = queues,
                                                    .rings = rings,
                                                    .rings_bytes = virtio::testing::kQueueBytes,
                                                    .ring_size = kRingSize});
        for (std::uint16_t index = 0; index < queues; ++index)
            rings_.push_back({slot, index, started.doorbell, started.queues[index]});
        bars_.push_back(started.bar);
    }

    static void poke_ports(Guest& guest, Entropy& random, Seen& seen) {
        static constexpr std::array<std::uint16_t, 19> kPorts{
            0x20, 0x21, 0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x42,  0x43, 0x61,
            0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x600, 0x602};
        const std::uint16_t port = kPorts.at(random.below(kPorts.size()));
        const std::uint8_t size = port >= 0x600 ? 2 : 1;
        seen.push_back(guest.platform.read_port(port, size));
        guest.platform.write_port(port, size, static_cast<std::uint32_t>(random.below(0x100)));
        seen.push_back(guest.platform.read_port(port, size));
    }

    static void poke_msrs(Guest& guest, Entropy& random, Seen& seen) {
        static constexpr std::array<std::uint32_t, 9> kMsrs{0x808, 0x80b, 0x80f, 0x828, 0x832,
                                                            0x838, 0x839, 0x83e, 0x83f};
        const std::uint32_t msr = kMsrs.at(random.below(kMsrs.size()));
        std::uint64_t value = random.below(0x100);
        if (msr == 0x80b) value = 0;
        if (msr == 0x80f) value |= 0x100;
        if (msr == 0x832) value |= random.below(2) << 17U;
        if (msr == 0x838) value = random.below(1'000'000);
        seen.push_back(guest.platform.write_msr(msr, value) ? 1 : 0);
        if (random.below(4) == 0) {
            seen.push_back(guest.platform.write_msr(Interrupts::kPvEoiMsr, 0x8001) ? 1 : 0);
        }
        seen.push_back(guest.platform.read_msr(msr).value_or(UINT64_MAX));
        seen.push_back(guest.platform.read_msr(0x839).value_or(UINT64_MAX));
        // The guest ends an interrupt by its flag.
        if (random.below(2) == 0) guest.memory.find(Gpa(0x8000), 1)[0] = std::byte{0};
    }

    void poke_devices(Guest& guest, Entropy& random, Seen& seen) {
        static constexpr std::array<std::uint32_t, 8> kOffsets{0x14,   0x15,   0x16,   0x1000,
                                                               0x2000, 0x3000, 0x300c, 0x3800};
        const std::uint32_t offset = kOffsets.at(random.below(kOffsets.size()));
        const Gpa address = bars_.at(random.below(bars_.size())) + offset;
        const std::uint8_t size = offset < 0x20 ? 1 : 4;
        seen.push_back(guest.platform.read_memory(address, size));
        if (offset == 0x300c) guest.platform.write_memory(address, size, random.below(2));
        // Now and then a driver starts over.
        if (offset == 0x14 && random.below(8) == 0) guest.platform.write_memory(address, size, 0);
        const auto place = 0x8000'0000 | static_cast<std::uint32_t>(random.below(0x1'0000) & ~3ULL);
        guest.platform.write_port(pci::kConfigAddressPort, 4, place);
        seen.push_back(guest.platform.read_port(pci::kConfigDataPort, 4));
    }

    void use_queue(Guest& guest, Entropy& random) {
        using virtio::testing::Buffer;
        Ring& ring = rings_.at(random.below(rings_.size()));
        const Gpa data(0x8'0000 + 0x1000 * random.below(0x40));
        if (ring.slot >= kFirstDiskSlot && ring.slot < kFirstNicSlot) {
            const bool is_read = random.below(2) == 0;
            virtio::testing::poke<std::uint64_t>(guest.memory, data, is_read ? 0 : 1);
            virtio::testing::poke<std::uint64_t>(guest.memory, data + 8, random.below(80));
            const std::array buffers{Buffer{data.value(), 16},
                                     Buffer{data.value() + 512, 512, is_read},
                                     Buffer{data.value() + 16, 1, true}};
            (void)ring.queue.add(buffers);
        } else {
            const bool is_sent = ring.index == 1;  // The console's output and the card's.
            if (is_sent) guest.memory.find(data, 12)[0] = std::byte{0};
            (void)ring.queue.add(std::array{Buffer{data.value(), 600, !is_sent}});
        }
        guest.platform.write_port(ring.doorbell, 2, ring.index);
    }

    void give_input(Guest& guest, Entropy& random) {
        std::array<std::byte, 300> bytes{};
        random.fill(std::span(bytes).subspan(12));
        const auto part = std::span(bytes).first(60 + random.below(200));
        switch (random.below(6)) {
            case 0:
                return guest.platform.apply(replay::input::Packet{0, part});
            case 1:
                return guest.platform.apply(
                    replay::input::ConsoleBytes{part, replay::ConsolePort::kSerial});
            case 2:
                return guest.platform.apply(
                    replay::input::ConsoleBytes{part, replay::ConsolePort::kVirtio});
            case 3:
                return guest.platform.apply(replay::input::PowerButton{});
            default:
                now_ += std::chrono::nanoseconds(random.below(3'000'000));
                return guest.platform.apply(replay::input::Time{now_});
        }
    }

    void answer(Guest& guest, Entropy& random) {
        std::array<std::byte, 512> bytes{};
        random.fill(bytes);
        if (!disk_requests.empty()) {
            const auto at = disk_requests.begin() +
                            static_cast<std::ptrdiff_t>(random.below(disk_requests.size()));
            const auto request = *at;
            disk_requests.erase(at);
            const bool is_read = request.operation == replay::output::DiskOperation::kRead;
            guest.platform.apply(
                replay::input::DiskCompletion{request.disk, request.id, true,
                                              is_read ? std::span(bytes) : std::span<std::byte>()});
        }
        if (!entropy_requests.empty() && random.below(2) == 0) {
            guest.platform.apply(replay::input::Entropy{entropy_requests.back().id, bytes});
            entropy_requests.pop_back();
        }
    }

    void take_outputs(Guest& guest, Seen& seen) {
        for (const auto& output : guest.platform.take_outputs()) {
            seen.push_back(output.index());
            if (const auto* disk = std::get_if<replay::output::DiskRequest>(&output)) {
                disk_requests.push_back(*disk);
                seen.insert(seen.end(), {disk->disk, disk->id, disk->offset, disk->data.size()});
            } else if (const auto* entropy = std::get_if<replay::output::EntropyRequest>(&output)) {
                entropy_requests.push_back(*entropy);
                seen.insert(seen.end(), {entropy->id, entropy->length});
            } else if (const auto* text = std::get_if<replay::output::ConsoleBytes>(&output)) {
                for (const std::byte byte : text->bytes)
                    seen.push_back(std::to_integer<std::uint64_t>(byte));
            } else if (const auto* packet = std::get_if<replay::output::Packet>(&output)) {
                seen.push_back(packet->frame.size());
            }
        }
    }

    std::uint64_t seed_;
    GuestTime now_{};
    std::vector<Ring> rings_;
    std::vector<Gpa> bars_;
};

}  // namespace ftvmm::machine::testing
