// virtio-rng, from the guest's side (virtio 1.2, 5.4). Where the bytes come from is the machine's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/in_flight.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {

// What one request is given: less than it asks for is allowed, and Linux asks for far less.
inline constexpr std::uint32_t kMaxRngBytes = 4096;

// Random bytes that the guest asks for.
struct RngRequest {
    std::uint64_t id = 0;      // Never used twice, not even after a reset.
    std::uint32_t length = 0;  // From 1 to kMaxRngBytes.
    bool operator==(const RngRequest&) const = default;
};

// notify() turns chains into requests, complete() gives the bytes; a reset forgets what is in
// flight. A chain with a readable part, or with no writable one, breaks the queue, and so do more
// requests in flight than the queue has entries. Owned by the machine; one thread.
class Rng final : public Transport {
  public:
    using Requests = InFlightList<RngRequest>;
    struct State {
        Transport::State transport;
        Requests::Entries in_flight;
        std::uint64_t next_id = 0;
        bool operator==(const State&) const = default;
    };
    struct Work {
        std::vector<RngRequest> requests;  // In the driver's order.
        Interrupts interrupts;
    };

    Rng();
    // The machine then answers all that is in flight.
    static Result<Rng> from_state(const State& state);
    [[nodiscard]] State state() const {
        return {transport_state(), in_flight_.entries(), in_flight_.next_id()};
    }
    [[nodiscard]] const Requests::Entries& in_flight() const { return in_flight_.entries(); }

    // Takes all that the driver has made available; call it when queue `index` was rung.
    [[nodiscard]] Work notify(Dma& dma, std::uint16_t index);
    // Gives request `id` its bytes, of which those past its length are dropped. An `id` that is not
    // in flight does nothing.
    [[nodiscard]] Interrupts complete(Dma& dma, std::uint64_t id, std::span<const std::byte> bytes);

  private:
    void on_reset() override { in_flight_.forget(); }
    [[nodiscard]] std::optional<RngRequest> take(const Chain& chain);

    Requests in_flight_;
};

}  // namespace ftvmm::virtio
