// virtio-console with one port, from the guest's side (virtio 1.2, 5.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {

// One chain of output; Linux writes at most 32 KiB at a time. A longer one breaks the queue.
inline constexpr std::uint64_t kMaxConsoleBytes = 65536;

// Output leaves at once, and input stays with the machine until the driver has room for it: the
// console itself holds nothing. Owned by the machine; one thread.
class Console final : public Transport {
  public:
    static constexpr std::uint16_t kInput = 0;   // The queue with room for input.
    static constexpr std::uint16_t kOutput = 1;  // The queue of what the guest prints.

    using State = Transport::State;
    struct Work {
        std::vector<std::byte> output;
        bool has_room = false;  // The driver has made room: offer the input that waits again.
        Interrupts interrupts;
    };
    struct Received {
        std::size_t taken = 0;  // Bytes of the input, from its front.
        Interrupts interrupts;
    };

    Console();
    static Result<Console> from_state(const State& state);
    [[nodiscard]] State state() const { return transport_state(); }

    // Takes all that the guest printed; call it when queue `index` was rung.
    [[nodiscard]] Work notify(Dma& dma, std::uint16_t index);
    // Gives the guest as much of `input` as it has room for.
    [[nodiscard]] Received receive(Dma& dma, std::span<const std::byte> input);

  private:
    void on_reset() override {}
};

}  // namespace ftvmm::virtio
