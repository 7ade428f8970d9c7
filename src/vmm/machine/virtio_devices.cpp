#include "vmm/machine/virtio_devices.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "vmm/boot/memory_map.h"

namespace ftvmm::machine {

namespace {

using replay::output::DiskOperation;

DiskOperation operation_of(virtio::BlkRequest::Kind kind) {
    switch (kind) {
        case virtio::BlkRequest::Kind::kRead:
            return DiskOperation::kRead;
        case virtio::BlkRequest::Kind::kWrite:
            return DiskOperation::kWrite;
        case virtio::BlkRequest::Kind::kDiscard:
            return DiskOperation::kDiscard;
        case virtio::BlkRequest::Kind::kWriteZeroes:
            return DiskOperation::kWriteZeroes;
        case virtio::BlkRequest::Kind::kFlush:
            break;
    }
    return DiskOperation::kFlush;
}

// An access that the bus knows how to route.
bool is_natural(std::uint8_t size) {
    return size == 1 || size == 2 || size == 4 || size == 8;
}

// The offset into ECAM of all `size` bytes at `address`, if they lie there.
std::optional<std::uint32_t> ecam_offset(Gpa address, std::uint8_t size) {
    if (address < boot::kEcamBase) return std::nullopt;
    const std::uint64_t offset = address - boot::kEcamBase;
    if (offset + size > pci::kEcamBytes) return std::nullopt;
    return static_cast<std::uint32_t>(offset);
}

constexpr std::uint8_t kMaxConfigAccess = 4;

// What of a state no device of its own looks at.
Result<void> check_shape(const VirtioConfig& config, const VirtioDevices::State& state) {
    if (state.disks.size() != config.disks.size() || state.nics.size() != config.nics.size() ||
        state.transmit_holds.size() != config.nics.size() ||
        state.waiting_packets.size() != config.nics.size()) {
        return fail("the state has other disks or network cards than the machine");
    }
    const auto is_kept = [](const std::vector<virtio::NetFrame>& frames) {
        return frames.size() <= kMaxWaitingPackets &&
               std::ranges::all_of(frames, [](const virtio::NetFrame& frame) {
                   return frame.size() <= virtio::kMaxFrameBytes;
               });
    };
    if (!std::ranges::all_of(state.waiting_packets, is_kept) ||
        state.waiting_console_bytes.size() > kMaxWaitingConsoleBytes) {
        return fail("more input waits in the state than a machine keeps");
    }
    return {};
}

}  // namespace

VirtioDevices::VirtioDevices(const VirtioConfig& config) {
    FTVMM_CHECK(config.disks.size() <= kMaxDisks && config.nics.size() <= kMaxNics,
                "every device has a slot");
    for (const auto& disk : config.disks)
        disks_.emplace_back(disk);
    for (const auto& nic : config.nics)
        nics_.emplace_back(nic);
    attach();
    bus_.assign_bars();
}

void VirtioDevices::attach() {
    bus_.attach(kRngSlot, rng_);
    bus_.attach(kConsoleSlot, console_);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        bus_.attach(static_cast<std::uint8_t>(kFirstDiskSlot + i), disks_[i]);
    }
    for (std::size_t i = 0; i < nics_.size(); ++i) {
        bus_.attach(static_cast<std::uint8_t>(kFirstNicSlot + i), nics_[i].device);
    }
}

VirtioDevices::State VirtioDevices::state() const {
    FTVMM_CHECK(messages_.empty() && outputs_.empty(), "outputs are taken before a save");
    State state;
    state.bus = bus_.state();
    for (const auto& disk : disks_)
        state.disks.push_back(disk.state());
    for (const auto& nic : nics_) {
        state.nics.push_back(nic.device.state());
        state.transmit_holds.push_back(nic.hold.state());
        state.waiting_packets.push_back(nic.waiting);
    }
    state.rng = rng_.state();
    state.console = console_.state();
    state.waiting_console_bytes = waiting_console_bytes_;
    return state;
}

Result<void> VirtioDevices::restore(const VirtioConfig& config, const State& state, GuestTime now) {
    FTVMM_TRY(check_shape(config, state));
    FTVMM_ASSIGN(const pci::Bus bus, pci::Bus::from_state(state.bus));
    FTVMM_ASSIGN(virtio::Rng rng, virtio::Rng::from_state(state.rng));
    FTVMM_ASSIGN(virtio::Console console, virtio::Console::from_state(state.console));
    std::deque<virtio::Blk> disks;
    for (std::size_t i = 0; i < config.disks.size(); ++i) {
        FTVMM_ASSIGN(auto disk, virtio::Blk::from_state(config.disks[i], state.disks[i]));
        disks.push_back(std::move(disk));
    }
    std::deque<Nic> nics;
    for (std::size_t i = 0; i < config.nics.size(); ++i) {
        FTVMM_ASSIGN(auto nic, virtio::Net::from_state(config.nics[i], state.nics[i]));
        FTVMM_ASSIGN(const auto hold, TransmitHold::from_state(state.transmit_holds[i]));
        nics.emplace_back(std::move(nic), hold, state.waiting_packets[i]);
    }
    // Nothing is taken over before all of it is known to be good.
    disks_ = std::move(disks);
    nics_ = std::move(nics);
    rng_ = std::move(rng);
    console_ = std::move(console);
    waiting_console_bytes_ = state.waiting_console_bytes;
    now_ = now;
    bus_ = bus;
    attach();
    messages_.clear();
    outputs_.clear();
    ask_again();
    return {};
}

void VirtioDevices::ask_again() {
    for (std::uint32_t disk = 0; disk < disks_.size(); ++disk) {
        for (const auto& in_flight : disks_[disk].in_flight())
            ask_disk(disk, in_flight.request);
    }
    for (const auto& in_flight : rng_.in_flight())
        ask_entropy(in_flight.request);
    for (std::uint32_t nic = 0; nic < nics_.size(); ++nic)
        report_offload(nic);
}

void VirtioDevices::move_disk_data_in_place(bool on) {
    for (virtio::Blk& disk : disks_)
        disk.move_in_place(on);
}

bool VirtioDevices::is_disk_data_moving_in_place() const {
    return std::ranges::any_of(disks_,
                               [](const virtio::Blk& disk) { return disk.is_moving_in_place(); });
}

void VirtioDevices::advance(virtio::Dma& dma, GuestTime now) {
    now_ = now;
    for (Nic& nic : nics_)
        tell_sent(dma, nic);
}

std::optional<GuestTime> VirtioDevices::next_deadline() const {
    std::optional<GuestTime> next;
    for (const Nic& nic : nics_) {
        const auto due = nic.hold.deadline();
        if (due && (!next || *due < *next)) next = due;
    }
    return next;
}

std::optional<std::uint32_t> VirtioDevices::read_port(std::uint16_t port, std::uint8_t size) {
    return bus_.read_port(port, size);
}

bool VirtioDevices::write_port(virtio::Dma& dma, std::uint16_t port, std::uint8_t size,
                               std::uint32_t value) {
    const auto effects = bus_.write_port(port, size, value);
    if (!effects) return false;
    carry_out(dma, *effects);
    return true;
}

std::optional<std::uint64_t> VirtioDevices::read_memory(Gpa address, std::uint8_t size) {
    if (!is_natural(size)) return std::nullopt;
    if (const auto offset = ecam_offset(address, size)) {
        if (size > kMaxConfigAccess) return std::nullopt;
        return bus_.read_ecam(*offset, size);
    }
    return bus_.read_memory(address, size);
}

bool VirtioDevices::write_memory(virtio::Dma& dma, Gpa address, std::uint8_t size,
                                 std::uint64_t value) {
    if (!is_natural(size)) return false;
    if (const auto offset = ecam_offset(address, size)) {
        if (size > kMaxConfigAccess) return false;
        carry_out(dma, bus_.write_ecam(*offset, size, static_cast<std::uint32_t>(value)));
        return true;
    }
    const auto effects = bus_.write_memory(address, size, value);
    if (!effects) return false;
    carry_out(dma, *effects);
    return true;
}

void VirtioDevices::carry_out(virtio::Dma& dma, const pci::Effects& effects) {
    add_messages(effects.messages);
    if (effects.doorbell) ring(dma, effects.slot, *effects.doorbell);
    if (effects.slot >= kFirstNicSlot && effects.slot < kFirstNicSlot + nics_.size()) {
        report_change_of_offload(effects.slot - kFirstNicSlot);
    }
}

void VirtioDevices::ring(virtio::Dma& dma, std::uint8_t slot, std::uint16_t queue) {
    if (slot == kRngSlot) return ring_rng(dma, queue);
    if (slot == kConsoleSlot) return ring_console(dma, queue);
    if (slot >= kFirstNicSlot) return ring_nic(dma, slot - kFirstNicSlot, queue);
    ring_disk(dma, slot - kFirstDiskSlot, queue);
}

void VirtioDevices::ring_disk(virtio::Dma& dma, std::uint32_t disk, std::uint16_t queue) {
    auto work = disks_.at(disk).notify(dma, queue);
    for (auto& request : work.requests) {
        auto place = request.place.empty() ? MemoryPieces() : dma.pieces_of(request.place);
        ask_disk(disk, std::move(request), std::move(place));
    }
    add_messages(work.interrupts);
}

void VirtioDevices::ask_disk(std::uint32_t disk, virtio::BlkRequest request, MemoryPieces place) {
    outputs_.emplace_back(replay::output::DiskRequest{
        disk, request.id, operation_of(request.kind), request.sector * virtio::kSectorBytes,
        request.length, std::move(request.data), std::move(place)});
}

void VirtioDevices::ring_rng(virtio::Dma& dma, std::uint16_t queue) {
    const auto work = rng_.notify(dma, queue);
    for (const auto& request : work.requests)
        ask_entropy(request);
    add_messages(work.interrupts);
}

void VirtioDevices::ask_entropy(const virtio::RngRequest& request) {
    outputs_.emplace_back(replay::output::EntropyRequest{request.id, request.length});
}

void VirtioDevices::ring_console(virtio::Dma& dma, std::uint16_t queue) {
    auto work = console_.notify(dma, queue);
    if (!work.output.empty()) {
        outputs_.emplace_back(
            replay::output::ConsoleBytes{std::move(work.output), replay::ConsolePort::kVirtio});
    }
    add_messages(work.interrupts);
    if (work.has_room) deliver_waiting_console_bytes(dma);
}

void VirtioDevices::ring_nic(virtio::Dma& dma, std::uint32_t nic, std::uint16_t queue) {
    Nic& card = nics_.at(nic);
    auto work = card.device.notify(dma, queue);
    for (auto& frame : work.frames) {
        card.hold.add(frame.size(), now_);
        outputs_.emplace_back(replay::output::Packet{nic, std::move(frame)});
    }
    for (std::size_t i = 0; i < work.dropped; ++i)
        card.hold.add(virtio::kNetHeaderBytes, now_);
    add_messages(work.interrupts);
    tell_sent(dma, card);
    if (work.has_room) deliver_waiting_packets(dma, card);
}

void VirtioDevices::tell_sent(virtio::Dma& dma, Nic& nic) {
    if (nic.hold.take_due(now_)) add_messages(nic.device.tell_sent(dma));
}

void VirtioDevices::complete_disk(virtio::Dma& dma,
                                  const replay::input::DiskCompletion& completion) {
    if (completion.disk >= disks_.size()) return;
    add_messages(
        disks_[completion.disk].complete(dma, completion.id, completion.ok, completion.data));
}

void VirtioDevices::give_entropy(virtio::Dma& dma, const replay::input::Entropy& entropy) {
    add_messages(rng_.complete(dma, entropy.id, entropy.bytes));
}

void VirtioDevices::receive_console_bytes(virtio::Dma& dma, std::span<const std::byte> bytes) {
    const auto room = kMaxWaitingConsoleBytes - waiting_console_bytes_.size();
    const auto fitting = bytes.first(std::min(room, bytes.size()));
    waiting_console_bytes_.insert(waiting_console_bytes_.end(), fitting.begin(), fitting.end());
    deliver_waiting_console_bytes(dma);
}

void VirtioDevices::deliver_waiting_console_bytes(virtio::Dma& dma) {
    if (waiting_console_bytes_.empty()) return;
    const auto received = console_.receive(dma, waiting_console_bytes_);
    const auto taken = static_cast<std::ptrdiff_t>(received.taken);
    waiting_console_bytes_.erase(waiting_console_bytes_.begin(),
                                 waiting_console_bytes_.begin() + taken);
    add_messages(received.interrupts);
}

void VirtioDevices::receive_packet(virtio::Dma& dma, const replay::input::Packet& packet) {
    if (packet.nic >= nics_.size()) return;
    Nic& nic = nics_[packet.nic];
    const bool fits = packet.frame.size() <= virtio::kMaxFrameBytes;
    if (!fits || nic.waiting.size() >= kMaxWaitingPackets) return;
    if (nic.waiting.empty()) {
        // Almost always: it is copied once, into the guest.
        const auto received = nic.device.receive_one(dma, packet.frame);
        add_messages(received.interrupts);
        if (received.taken == 0) {
            nic.waiting.emplace_back(packet.frame.begin(), packet.frame.end());
        }
        return;
    }
    nic.waiting.emplace_back(packet.frame.begin(), packet.frame.end());
    deliver_waiting_packets(dma, nic);
}

void VirtioDevices::deliver_waiting_packets(virtio::Dma& dma, Nic& nic) {
    if (nic.waiting.empty()) return;
    const auto received = nic.device.receive(dma, nic.waiting);
    nic.waiting.erase(nic.waiting.begin(),
                      nic.waiting.begin() + static_cast<std::ptrdiff_t>(received.taken));
    add_messages(received.interrupts);
}

void VirtioDevices::report_change_of_offload(std::uint32_t nic) {
    if (nics_.at(nic).device.offload() != nics_.at(nic).reported) report_offload(nic);
}

void VirtioDevices::report_offload(std::uint32_t nic) {
    const virtio::NetOffload now = nics_.at(nic).device.offload();
    nics_.at(nic).reported = now;
    outputs_.emplace_back(
        replay::output::NicOffload{nic, now.checksum, now.tso4, now.tso6, now.ecn});
}

bool VirtioDevices::wants_packets(std::uint32_t nic) const {
    return nic < nics_.size() && nics_[nic].waiting.empty();
}

void VirtioDevices::add_messages(const virtio::Interrupts& interrupts) {
    messages_.insert(messages_.end(), interrupts.begin(), interrupts.end());
}

std::vector<pci::MsiMessage> VirtioDevices::take_messages() {
    return std::exchange(messages_, {});
}

std::vector<replay::Output> VirtioDevices::take_outputs() {
    return std::exchange(outputs_, {});
}

}  // namespace ftvmm::machine
