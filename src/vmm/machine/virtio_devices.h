// The guest's PCI bus and the virtio devices on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "replay/input.h"
#include "replay/output.h"
#include "vmm/machine/transmit_hold.h"
#include "vmm/pci/bus.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"

namespace ftvmm::machine {

struct VirtioConfig {
    std::vector<virtio::BlkConfig> disks;
    std::vector<virtio::NetConfig> nics;
};

// Slots are by kind, so that a second disk does not rename the network card.
inline constexpr std::uint8_t kRngSlot = 1;
inline constexpr std::uint8_t kConsoleSlot = 2;
inline constexpr std::uint8_t kFirstDiskSlot = 4;
inline constexpr std::size_t kMaxDisks = 16;
inline constexpr std::uint8_t kFirstNicSlot = kFirstDiskSlot + kMaxDisks;
inline constexpr std::size_t kMaxNics = 8;

// Input that may wait for room. The host asks before it gives more (wants_packets() and
// wants_console_bytes()), so these bound memory and a state's size, not a guest: a ring's worth of
// frames, and more than anybody types. What is given beyond them is lost, as on any wire.
inline constexpr std::size_t kMaxWaitingPackets = 256;
inline constexpr std::size_t kMaxWaitingConsoleBytes = std::size_t{1} << 20U;

// Routes accesses to the devices and collects what follows from them: messages for the interrupt
// controller, outputs for the host. Input that a driver has no room for waits here. Pure; the
// machine owns it; one thread.
class VirtioDevices {
  public:
    struct State {
        pci::Bus::State bus;
        std::vector<virtio::Blk::State> disks;
        std::vector<virtio::Net::State> nics;
        virtio::Rng::State rng;
        virtio::Console::State console;
        std::vector<TransmitHold::State> transmit_holds;             // By card.
        std::vector<std::vector<virtio::NetFrame>> waiting_packets;  // By card, oldest first.
        std::vector<std::byte> waiting_console_bytes;

        bool operator==(const State&) const = default;
    };

    // At power-on. At most kMaxDisks and kMaxNics.
    explicit VirtioDevices(const VirtioConfig& config);
    VirtioDevices(const VirtioDevices&) = delete;  // The bus knows its functions' addresses.
    VirtioDevices& operator=(const VirtioDevices&) = delete;
    VirtioDevices(VirtioDevices&&) = delete;
    VirtioDevices& operator=(VirtioDevices&&) = delete;
    ~VirtioDevices() = default;

    // Takes over `state`, whose machine had this `config`, at `now`; on an error nothing has
    // changed. Whoever was asked for something is gone: what is in flight is asked for again, and
    // what each driver takes on itself is reported again, as outputs.
    [[nodiscard]] Result<void> restore(const VirtioConfig& config, const State& state,
                                       GuestTime now);
    // Messages and outputs that were not taken are no part of it: take them first.
    [[nodiscard]] State state() const;

    // As of Blk::move_in_place(), for every disk.
    void move_disk_data_in_place(bool on);
    [[nodiscard]] bool is_disk_data_moving_in_place() const;

    // Guest time is now `now`.
    void advance(virtio::Dma& dma, GuestTime now);
    // When advance() next has something to do.
    [[nodiscard]] std::optional<GuestTime> next_deadline() const;

    // The guest's accesses of `size` bytes; empty or false where nothing answers.
    [[nodiscard]] std::optional<std::uint32_t> read_port(std::uint16_t port, std::uint8_t size);
    [[nodiscard]] bool write_port(virtio::Dma& dma, std::uint16_t port, std::uint8_t size,
                                  std::uint32_t value);
    [[nodiscard]] std::optional<std::uint64_t> read_memory(Gpa address, std::uint8_t size);
    [[nodiscard]] bool write_memory(virtio::Dma& dma, Gpa address, std::uint8_t size,
                                    std::uint64_t value);

    void complete_disk(virtio::Dma& dma, const replay::input::DiskCompletion& completion);
    void receive_packet(virtio::Dma& dma, const replay::input::Packet& packet);
    void receive_console_bytes(virtio::Dma& dma, std::span<const std::byte> bytes);
    void give_entropy(virtio::Dma& dma, const replay::input::Entropy& entropy);

    // Whether nothing waits any more.
    [[nodiscard]] bool wants_packets(std::uint32_t nic) const;
    [[nodiscard]] bool wants_console_bytes() const { return waiting_console_bytes_.empty(); }

    // What came of it all since the last call, in order.
    [[nodiscard]] std::vector<pci::MsiMessage> take_messages();
    [[nodiscard]] std::vector<replay::Output> take_outputs();

  private:
    struct Nic {
        explicit Nic(const virtio::NetConfig& config) : device(config) {}
        Nic(virtio::Net from, const TransmitHold& held, std::vector<virtio::NetFrame> frames)
            : device(std::move(from)), hold(held), waiting(std::move(frames)) {}
        virtio::Net device;
        TransmitHold hold;
        std::vector<virtio::NetFrame> waiting;  // Oldest first.
        virtio::NetOffload reported;
    };

    void attach();
    void carry_out(virtio::Dma& dma, const pci::Effects& effects);
    void ring(virtio::Dma& dma, std::uint8_t slot, std::uint16_t queue);
    void ring_disk(virtio::Dma& dma, std::uint32_t disk, std::uint16_t queue);
    void ring_nic(virtio::Dma& dma, std::uint32_t nic, std::uint16_t queue);
    void ring_rng(virtio::Dma& dma, std::uint16_t queue);
    void ring_console(virtio::Dma& dma, std::uint16_t queue);
    void tell_sent(virtio::Dma& dma, Nic& nic);
    void deliver_waiting_packets(virtio::Dma& dma, Nic& nic);
    void deliver_waiting_console_bytes(virtio::Dma& dma);
    void report_change_of_offload(std::uint32_t nic);
    void report_offload(std::uint32_t nic);
    void ask_again();
    void ask_disk(std::uint32_t disk, virtio::BlkRequest request, MemoryPieces place = {});
    void ask_entropy(const virtio::RngRequest& request);
    void add_messages(const virtio::Interrupts& interrupts);

    std::deque<virtio::Blk> disks_;
    std::deque<Nic> nics_;
    virtio::Rng rng_;
    virtio::Console console_;
    std::vector<std::byte> waiting_console_bytes_;
    pci::Bus bus_;
    GuestTime now_{};
    std::vector<pci::MsiMessage> messages_;
    std::vector<replay::Output> outputs_;
};

}  // namespace ftvmm::machine
