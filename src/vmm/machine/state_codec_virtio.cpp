#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

namespace {

using pci::ConfigSpace;

std::string encode(const ConfigSpace::State& state) {
    return to_string(state.bytes);
}

ConfigSpace::State decode_config(Decoder& in, const std::string& from) {
    return {in.bytes<std::array<std::byte, pci::kConfigBytes>>(from, "PCI configuration")};
}

pb::PciBus encode(const pci::Bus::State& state) {
    pb::PciBus to;
    to.set_config_address(state.config_address);
    to.set_host_bridge(encode(state.host_bridge));
    return to;
}

pci::Bus::State decode(Decoder& in, const pb::PciBus& from) {
    return {.config_address = from.config_address(),
            .host_bridge = decode_config(in, from.host_bridge())};
}

pb::Transport::Queue encode(const virtio::Queue::State& state) {
    pb::Transport::Queue to;
    to.set_size(state.size);
    to.set_descriptors(state.descriptors.value());
    to.set_available(state.available.value());
    to.set_used(state.used.value());
    to.set_enabled(state.enabled);
    to.set_broken(state.broken);
    to.set_indirect(state.features.indirect);
    to.set_event_idx(state.features.event_idx);
    to.set_next_available(state.next_available);
    to.set_next_used(state.next_used);
    to.set_signalled_used(state.signalled_used);
    return to;
}

virtio::Queue::State decode(Decoder& in, const pb::Transport::Queue& from) {
    const auto u16 = [&in](std::uint32_t value) {
        return in.number<std::uint16_t>(value, "virtqueue");
    };
    return {.size = u16(from.size()),
            .descriptors = Gpa(from.descriptors()),
            .available = Gpa(from.available()),
            .used = Gpa(from.used()),
            .enabled = from.enabled(),
            .broken = from.broken(),
            .features = {.indirect = from.indirect(), .event_idx = from.event_idx()},
            .next_available = u16(from.next_available()),
            .next_used = u16(from.next_used()),
            .signalled_used = u16(from.signalled_used())};
}

pb::Transport encode(const virtio::Transport::State& state) {
    pb::Transport to;
    to.set_config(encode(state.config));
    for (const auto& entry : state.msix.entries) {
        auto& each = *to.add_msix();
        each.set_address(entry.address);
        each.set_data(entry.data);
        each.set_masked(entry.masked);
        each.set_pending(entry.pending);
    }
    for (const auto& queue : state.queues)
        *to.add_queues() = encode(queue);
    for (const std::uint16_t vector : state.queue_vectors)
        to.add_queue_vectors(vector);
    to.set_device_config(to_string(state.device_config));
    to.set_device_feature_select(state.device_feature_select);
    to.set_driver_feature_select(state.driver_feature_select);
    to.set_driver_features(state.driver_features);
    to.set_config_vector(state.config_vector);
    to.set_queue_select(state.queue_select);
    to.set_status(state.status);
    to.set_config_generation(state.config_generation);
    to.set_isr(state.isr);
    return to;
}

virtio::Transport::State decode(Decoder& in, const pb::Transport& from) {
    constexpr const char* kName = "virtio device";
    virtio::Transport::State state;
    state.config = decode_config(in, from.config());
    for (const auto& entry : from.msix()) {
        state.msix.entries.push_back(
            {entry.address(), entry.data(), entry.masked(), entry.pending()});
    }
    for (const auto& queue : from.queues())
        state.queues.push_back(decode(in, queue));
    for (const std::uint32_t vector : from.queue_vectors())
        state.queue_vectors.push_back(in.number<std::uint16_t>(vector, kName));
    state.device_config = to_bytes(from.device_config());
    state.device_feature_select = from.device_feature_select();
    state.driver_feature_select = from.driver_feature_select();
    state.driver_features = from.driver_features();
    state.config_vector = in.number<std::uint16_t>(from.config_vector(), kName);
    state.queue_select = in.number<std::uint16_t>(from.queue_select(), kName);
    state.status = in.number<std::uint8_t>(from.status(), kName);
    state.config_generation = in.number<std::uint8_t>(from.config_generation(), kName);
    state.isr = in.number<std::uint8_t>(from.isr(), kName);
    return state;
}

// Where a request's answer goes, which Blk's and Rng's messages both hold.
template <class Request, class Message>
void encode_place(const virtio::InFlight<Request>& in_flight, Message& to) {
    to.set_head(in_flight.head);
    for (const auto& range : in_flight.writable) {
        auto& each = *to.add_writable();
        each.set_address(range.address.value());
        each.set_length(range.length);
    }
}

template <class Request, class Message>
virtio::InFlight<Request> decode_place(Decoder& in, Request request, const Message& from) {
    virtio::InFlight<Request> in_flight{std::move(request), {}, {}};
    in_flight.head = in.number<std::uint16_t>(from.head(), "request in flight");
    for (const auto& range : from.writable())
        in_flight.writable.push_back({Gpa(range.address()), range.length()});
    return in_flight;
}

pb::Blk encode(Encoder& out, const virtio::Blk::State& state) {
    pb::Blk to;
    *to.mutable_transport() = encode(state.transport);
    for (const auto& in_flight : state.in_flight) {
        const auto& request = in_flight.request;
        auto& each = *to.add_in_flight();
        each.set_id(request.id);
        each.set_kind(static_cast<std::uint32_t>(request.kind));
        each.set_sector(request.sector);
        each.set_length(request.length);
        each.set_data_bytes(request.data.size());
        out.add_bulk(request.data);
        encode_place(in_flight, each);
    }
    to.set_next_id(state.next_id);
    return to;
}

virtio::Blk::State decode(Decoder& in, const pb::Blk& from) {
    constexpr const char* kName = "disk request";
    in.require(from.has_transport(), "disk");
    virtio::Blk::State state;
    state.transport = decode(in, from.transport());
    for (const auto& each : from.in_flight()) {
        virtio::BlkRequest request{
            .id = each.id(),
            .kind = in.enumerator(each.kind(), virtio::BlkRequest::Kind::kWriteZeroes, kName),
            .sector = each.sector(),
            .length = each.length(),
            .data = SharedBytes::copy_of(in.take_bulk(each.data_bytes(), kName))};
        state.in_flight.push_back(decode_place(in, std::move(request), each));
    }
    state.next_id = from.next_id();
    return state;
}

pb::Rng encode(const virtio::Rng::State& state) {
    pb::Rng to;
    *to.mutable_transport() = encode(state.transport);
    for (const auto& in_flight : state.in_flight) {
        auto& each = *to.add_in_flight();
        each.set_id(in_flight.request.id);
        each.set_length(in_flight.request.length);
        encode_place(in_flight, each);
    }
    to.set_next_id(state.next_id);
    return to;
}

virtio::Rng::State decode(Decoder& in, const pb::Rng& from) {
    in.require(from.has_transport(), "entropy device");
    virtio::Rng::State state;
    state.transport = decode(in, from.transport());
    for (const auto& each : from.in_flight()) {
        const virtio::RngRequest request{each.id(), each.length()};
        state.in_flight.push_back(decode_place(in, request, each));
    }
    state.next_id = from.next_id();
    return state;
}

}  // namespace

pb::VirtioDevices encode(Encoder& out, const VirtioDevices::State& state) {
    pb::VirtioDevices to;
    *to.mutable_bus() = encode(state.bus);
    for (const auto& disk : state.disks)
        *to.add_disks() = encode(out, disk);
    for (const auto& nic : state.nics)
        *to.add_nics() = encode(nic);
    for (const auto& hold : state.transmit_holds) {
        auto& each = *to.add_transmit_holds();
        each.set_frames(hold.frames);
        each.set_bytes(hold.bytes);
        each.set_since_ns(hold.since_ns);
    }
    *to.mutable_rng() = encode(state.rng);
    *to.mutable_console() = encode(state.console);
    for (const auto& frames : state.waiting_packets) {
        auto& each = *to.add_waiting_packets();
        for (const auto& frame : frames) {
            each.add_lengths(static_cast<std::uint32_t>(frame.size()));
            out.add_bulk(frame);
        }
    }
    to.set_waiting_console_bytes(to_string(state.waiting_console_bytes));
    return to;
}

VirtioDevices::State decode(Decoder& in, const pb::VirtioDevices& from) {
    in.require(from.has_bus() && from.has_rng() && from.has_console(), "set of virtio devices");
    VirtioDevices::State state;
    state.bus = decode(in, from.bus());
    for (const auto& disk : from.disks())
        state.disks.push_back(decode(in, disk));
    for (const auto& nic : from.nics())
        state.nics.push_back(decode(in, nic));
    for (const auto& hold : from.transmit_holds())
        state.transmit_holds.push_back({hold.frames(), hold.bytes(), hold.since_ns()});
    state.rng = decode(in, from.rng());
    state.console = decode(in, from.console());
    for (const auto& frames : from.waiting_packets()) {
        auto& each = state.waiting_packets.emplace_back();
        for (const std::uint32_t length : frames.lengths())
            each.push_back(in.take_bulk(length, "waiting packet"));
    }
    state.waiting_console_bytes = to_bytes(from.waiting_console_bytes());
    return state;
}

}  // namespace ftvmm::machine
