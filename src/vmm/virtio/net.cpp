#include "vmm/virtio/net.h"

#include <algorithm>
#include <utility>

#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

// Device configuration (virtio 1.2, 5.1.4). max_virtqueue_pairs, at 8, is 0: there is one pair.
constexpr std::size_t kMac = 0;
constexpr std::size_t kStatus = 6;
constexpr std::uint16_t kConfigBytes = 10;
constexpr std::uint16_t kLinkUp = 1;

constexpr std::uint64_t kFeatures =
    net_feature::kChecksum | net_feature::kGuestChecksum | net_feature::kMac |
    net_feature::kGuestTso4 | net_feature::kGuestTso6 | net_feature::kGuestEcn |
    net_feature::kHostTso4 | net_feature::kHostTso6 | net_feature::kHostEcn |
    net_feature::kMergeableBuffers | net_feature::kStatus;

// Features that lack one that they need count as not taken (virtio 1.2, 5.1.3.1).
NetOffload with_needs(NetOffload offload) {
    offload.tso4 = offload.tso4 && offload.checksum;
    offload.tso6 = offload.tso6 && offload.checksum;
    offload.ecn = offload.ecn && (offload.tso4 || offload.tso6);
    return offload;
}

}  // namespace

Net::Net(const NetConfig& config)
    : Transport({.id = 1,
                 .class_code = 0x02'0000,
                 .features = kFeatures,
                 .queues = 2,
                 .config_bytes = kConfigBytes}) {
    const auto bytes = device_config();
    std::ranges::transform(config.mac, bytes.begin() + kMac,
                           [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
    pci::store_at(bytes, kStatus, kLinkUp);
}

Result<Net> Net::from_state(const NetConfig& config, const State& state) {
    Net net(config);
    const auto fresh = net.transport_state().device_config;
    FTVMM_TRY(net.restore(state));
    if (state.device_config != fresh) return fail("the network card is another one");
    return net;
}

NetOffload Net::offload() const {
    return with_needs({.checksum = took(net_feature::kGuestChecksum),
                       .tso4 = took(net_feature::kGuestTso4),
                       .tso6 = took(net_feature::kGuestTso6),
                       .ecn = took(net_feature::kGuestEcn)});
}

NetOffload Net::host_offload() const {
    return with_needs({.checksum = took(net_feature::kChecksum),
                       .tso4 = took(net_feature::kHostTso4),
                       .tso6 = took(net_feature::kHostTso6),
                       .ecn = took(net_feature::kHostEcn)});
}

Net::Work Net::notify(Dma& dma, std::uint16_t index) {
    Work work;
    if (!may_work(index)) return work;
    if (index == kReceive) {
        work.has_room = true;
        return work;
    }
    while (const auto chain = queue(kTransmit).pop(dma)) {
        if (!chain->writable.empty() || total_length(chain->readable) < kNetHeaderBytes) {
            queue(kTransmit).mark_broken();
            break;
        }
        if (auto frame = take(dma, *chain)) {
            work.frames.push_back(std::move(*frame));
        } else {
            ++work.dropped;
        }
        queue(kTransmit).push_used(dma, chain->head, 0);
    }
    queue(kTransmit).want_notification(dma);
    if (queue(kTransmit).is_broken()) finish(dma, kTransmit, work.interrupts);
    return work;
}

Interrupts Net::tell_sent(const Dma& dma) {
    Interrupts interrupts;
    if (may_work(kTransmit)) finish(dma, kTransmit, interrupts);
    return interrupts;
}

std::optional<NetFrame> Net::take(const Dma& dma, const Chain& chain) const {
    if (total_length(chain.readable) > kMaxFrameBytes) return std::nullopt;
    NetFrame frame = gather(dma, chain.readable, kMaxFrameBytes);
    const auto header = admit(frame, host_offload(), NetWay::kFromGuest);
    if (!header) return std::nullopt;
    std::ranges::copy(*header, frame.begin());
    return frame;
}

Net::Received Net::receive(Dma& dma, std::span<const NetFrame> frames) {
    Received received;
    // As on any wire, what comes while nobody listens is lost: kept, it would come out stale.
    if (!may_work(kReceive)) {
        received.taken = received.dropped = frames.size();
        return received;
    }
    for (const NetFrame& frame : frames) {
        if (!offer(dma, frame, received)) break;
    }
    finish(dma, kReceive, received.interrupts);
    return received;
}

Net::Received Net::receive_one(Dma& dma, std::span<const std::byte> frame) {
    if (!may_work(kReceive)) return {.taken = 1, .dropped = 1, .interrupts = {}};
    Received received;
    (void)offer(dma, frame, received);
    finish(dma, kReceive, received.interrupts);
    return received;
}

// Whether it was taken.
bool Net::offer(Dma& dma, std::span<const std::byte> frame, Received& received) {
    const Fate fate = give(dma, frame);
    if (fate == Fate::kNotTaken) {
        queue(kReceive).want_notification(dma);
        return false;
    }
    ++received.taken;
    if (fate == Fate::kDropped) ++received.dropped;
    return true;
}

// A frame has one chain, or with MRG_RXBUF as many as it needs. One that no ring full of chains
// like these can hold is dropped, or it would wait for ever.
Net::Fate Net::give(Dma& dma, std::span<const std::byte> frame) {
    const auto header = admit(frame, offload(), NetWay::kToGuest);
    if (!header) return Fate::kDropped;
    const std::size_t most =
        took(net_feature::kMergeableBuffers) ? queue(kReceive).state().size : 1;
    std::vector<Chain> chains;
    std::uint64_t room = 0;
    while (room < frame.size()) {
        auto chain = chains.size() < most ? pop_room(dma) : std::nullopt;
        if (!chain) {
            queue(kReceive).rewind(static_cast<std::uint16_t>(chains.size()));
            return chains.size() < most ? Fate::kNotTaken : Fate::kDropped;
        }
        room += total_length(chain->writable);
        chains.push_back(std::move(*chain));
    }
    fill(dma, chains, *header, frame);
    return Fate::kGiven;
}

std::optional<Chain> Net::pop_room(const Dma& dma) {
    auto chain = queue(kReceive).pop(dma);
    if (!chain) return std::nullopt;
    if (chain->readable.empty() && total_length(chain->writable) >= kNetHeaderBytes) return chain;
    queue(kReceive).mark_broken();
    return std::nullopt;
}

// `chains` have the room; each but the last is filled to its end (virtio 1.2, 5.1.6.4.1).
void Net::fill(Dma& dma, std::span<const Chain> chains, NetHeader header,
               std::span<const std::byte> frame) {
    pci::store_at(std::span<std::byte>(header), kNetHeaderBuffers,
                  static_cast<std::uint16_t>(chains.size()));
    std::span<const std::byte> rest = frame;
    rest = rest.subspan(scatter(dma, chains.front().writable, 0, header));
    std::uint64_t offset = kNetHeaderBytes;
    for (const Chain& chain : chains) {
        const std::uint64_t written = scatter(dma, chain.writable, offset, rest);
        queue(kReceive).push_used(dma, chain.head, static_cast<std::uint32_t>(offset + written));
        rest = rest.subspan(written);
        offset = 0;
    }
}

}  // namespace ftvmm::virtio
