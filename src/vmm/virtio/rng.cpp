#include "vmm/virtio/rng.h"

#include <algorithm>
#include <utility>

namespace ftvmm::virtio {
namespace {

std::uint32_t length_of(std::span<const Range> writable) {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(total_length(writable), kMaxRngBytes));
}

}  // namespace

Rng::Rng()
    : Transport({.id = 4, .class_code = 0xff'0000, .features = 0, .queues = 1, .config_bytes = 0}) {
}

Result<Rng> Rng::from_state(const State& state) {
    Rng rng;
    FTVMM_TRY(rng.restore(state.transport));
    const bool driver_ok = (state.transport.status & status::kDriverOk) != 0;
    const Queue::State& queue = state.transport.queues[0];
    if (state.in_flight.size() > queue.size ||
        (!state.in_flight.empty() && !(driver_ok && queue.enabled))) {
        return fail("the random source has requests in flight that it cannot have");
    }
    std::uint64_t lowest = 0;
    for (const InFlight& in_flight : state.in_flight) {
        const std::uint64_t id = in_flight.request.id;
        if (id < lowest || id >= state.next_id || in_flight.head >= queue.size ||
            in_flight.writable.size() > kMaxQueueSize || in_flight.request.length == 0 ||
            in_flight.request.length != length_of(in_flight.writable)) {
            return fail("a request for random bytes is none that a driver can have made");
        }
        lowest = id + 1;
    }
    rng.in_flight_ = state.in_flight;
    rng.next_id_ = state.next_id;
    return rng;
}

Rng::Work Rng::notify(Dma& dma, std::uint16_t index) {
    Work work;
    if (!may_work(index)) return work;
    while (const auto chain = queue(index).pop(dma)) {
        if (const auto request = take(*chain)) work.requests.push_back(*request);
    }
    queue(index).want_notification(dma);
    finish(dma, index, work.interrupts);
    return work;
}

std::optional<RngRequest> Rng::take(const Chain& chain) {
    if (!chain.readable.empty() || chain.writable.empty() ||
        in_flight_.size() >= queue(0).state().size) {
        queue(0).mark_broken();
        return std::nullopt;
    }
    const RngRequest request{next_id_++, length_of(chain.writable)};
    in_flight_.push_back({request, chain.head, chain.writable});
    return request;
}

Interrupts Rng::complete(Dma& dma, std::uint64_t id, std::span<const std::byte> bytes) {
    const auto found = std::ranges::find(
        in_flight_, id, [](const InFlight& in_flight) { return in_flight.request.id; });
    if (found == in_flight_.end()) return {};
    const InFlight done = std::move(*found);
    in_flight_.erase(found);
    Interrupts interrupts;
    // With a broken queue, or without bus mastering, the answer has nowhere to go.
    if (!may_work(0)) return interrupts;
    const auto taken = bytes.first(std::min<std::size_t>(bytes.size(), done.request.length));
    const auto written = scatter(dma, done.writable, 0, taken);
    queue(0).push_used(dma, done.head, static_cast<std::uint32_t>(written));
    finish(dma, 0, interrupts);
    return interrupts;
}

}  // namespace ftvmm::virtio
