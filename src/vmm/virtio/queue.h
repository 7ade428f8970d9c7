// The split virtqueue, from the device's side (virtio 1.2, 2.7).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/dma.h"

namespace ftvmm::virtio {

// Each queue's largest size, which is also the longest chain: Linux asks for no more.
inline constexpr std::uint16_t kMaxQueueSize = 256;

// One request of the driver: what the device may read, and what it may write. Every range was RAM
// and not empty when it was popped.
struct Chain {
    std::uint16_t head = 0;
    std::vector<Range> readable;
    std::vector<Range> writable;
    bool operator==(const Chain&) const = default;
};

// The features that change how a queue works.
struct QueueFeatures {
    bool indirect = false;
    bool event_idx = false;
    bool operator==(const QueueFeatures&) const = default;
};

// Reads descriptors and the available ring, writes the used ring, and touches nothing else of the
// guest's memory. What the driver must not do breaks the queue: a broken queue gives no chains and
// writes nothing until it is reset, and its device asks the driver for a reset.
class Queue {
  public:
    struct State {
        std::uint16_t size = kMaxQueueSize;
        Gpa descriptors;
        Gpa available;
        Gpa used;
        bool enabled = false;
        bool broken = false;
        QueueFeatures features;
        // Positions in the two rings, modulo 65536.
        std::uint16_t next_available = 0;
        std::uint16_t next_used = 0;
        std::uint16_t signalled_used = 0;  // next_used when the driver was last told.
        bool operator==(const State&) const = default;
    };

    Queue() = default;
    static Result<Queue> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // Set-up, by the transport. Until enable() all may change, afterwards nothing but reset().
    // A size that is not a power of two up to kMaxQueueSize is not taken.
    void set_size(std::uint16_t size);
    void set_descriptors(Gpa address) { state_.descriptors = address; }
    void set_available(Gpa address) { state_.available = address; }
    void set_used(Gpa address) { state_.used = address; }
    // Starts the queue; rings that are not aligned as virtio wants, or that wrap around the end of
    // the address space, break it.
    void enable(const QueueFeatures& features);
    void reset() { state_ = {}; }

    [[nodiscard]] bool is_enabled() const { return state_.enabled; }
    [[nodiscard]] bool is_broken() const { return state_.broken; }
    // For what only the device can see to be wrong in a chain.
    void mark_broken() { state_.broken = true; }

    // The next chain, or nothing where there is none, or the queue is off or broken.
    [[nodiscard]] std::optional<Chain> pop(const Dma& dma);
    // Takes back the last `chains` pops, none of which has been pushed.
    void rewind(std::uint16_t chains);
    // Gives a chain back with `written` bytes in its writable part.
    void push_used(Dma& dma, std::uint16_t head, std::uint32_t written);
    // Asks the driver to notify when it next makes a buffer available.
    void want_notification(Dma& dma);
    // Whether the driver is to be interrupted for what was pushed since the last such call.
    [[nodiscard]] bool needs_interrupt(const Dma& dma);

  private:
    struct Descriptor;

    [[nodiscard]] std::optional<std::uint16_t> read_u16(const Dma& dma, Gpa address);
    [[nodiscard]] std::optional<Descriptor> read_descriptor(const Dma& dma, Gpa table,
                                                            std::uint32_t index) const;
    [[nodiscard]] bool append(const Dma& dma, const Descriptor& descriptor, Chain& chain) const;
    [[nodiscard]] bool walk(const Dma& dma, Gpa table, std::uint32_t count, std::uint32_t first,
                            bool nested, Chain& chain) const;
    [[nodiscard]] bool walk_indirect(const Dma& dma, const Descriptor& descriptor, bool nested,
                                     Chain& chain) const;

    State state_;
};

}  // namespace ftvmm::virtio
