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
    for (const InFlight<RngRequest>& in_flight : state.in_flight) {
        const std::uint32_t length = in_flight.request.length;
        if (length == 0 || length != length_of(in_flight.writable)) {
            return fail("a request for random bytes does not ask for what it has room for");
        }
    }
    FTVMM_TRY(rng.in_flight_.restore(state.in_flight, state.next_id, state.transport));
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
        in_flight_.entries().size() >= queue(0).state().size) {
        queue(0).mark_broken();
        return std::nullopt;
    }
    return in_flight_.add(chain, {.length = length_of(chain.writable)});
}

Interrupts Rng::complete(Dma& dma, std::uint64_t id, std::span<const std::byte> bytes) {
    const auto done = in_flight_.take(id);
    // With a broken queue, or without bus mastering, the answer has nowhere to go.
    if (!done || !may_work(0)) return {};
    Interrupts interrupts;
    const auto taken = bytes.first(std::min<std::size_t>(bytes.size(), done->request.length));
    const auto written = scatter(dma, done->writable, 0, taken);
    queue(0).push_used(dma, done->head, static_cast<std::uint32_t>(written));
    finish(dma, 0, interrupts);
    return interrupts;
}

}  // namespace ftvmm::virtio
