// The requests of a queue that the machine has not answered yet.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {

// A request, and where its answer goes.
template <class Request>
struct InFlight {
    Request request;
    std::uint16_t head = 0;
    std::vector<Range> writable;
    bool operator==(const InFlight&) const = default;
};

// Numbers requests, which have an `id`, and keeps them until they are answered or forgotten.
template <class Request>
class InFlightList {
  public:
    using Entries = std::vector<InFlight<Request>>;

    [[nodiscard]] const Entries& entries() const { return entries_; }  // Oldest first.
    [[nodiscard]] std::uint64_t next_id() const { return next_id_; }

    // The same request, with its number.
    [[nodiscard]] Request add(const Chain& chain, Request request) {
        request.id = next_id_++;
        entries_.push_back({request, chain.head, chain.writable});
        return request;
    }
    // Removes request `id`; nothing where it is not in flight.
    [[nodiscard]] std::optional<InFlight<Request>> take(std::uint64_t id) {
        const auto found = std::ranges::find(
            entries_, id, [](const InFlight<Request>& entry) { return entry.request.id; });
        if (found == entries_.end()) return std::nullopt;
        InFlight<Request> entry = std::move(*found);
        entries_.erase(found);
        return entry;
    }
    // Numbers go on, so that none comes twice.
    void forget() { entries_.clear(); }

    // Takes over what was in flight in queue 0 of a device in state `device`. What the requests ask
    // for is the device's to check.
    [[nodiscard]] Result<void> restore(const Entries& entries, std::uint64_t next_id,
                                       const Transport::State& device) {
        const Queue::State& queue = device.queues.at(0);
        const bool is_running = (device.status & status::kDriverOk) != 0 && queue.enabled;
        if (entries.size() > queue.size || (!entries.empty() && !is_running)) {
            return fail("a virtio device has requests in flight that it cannot have");
        }
        std::uint64_t lowest = 0;
        for (const InFlight<Request>& entry : entries) {
            const std::uint64_t id = entry.request.id;
            if (id < lowest || id >= next_id || entry.head >= queue.size ||
                entry.writable.size() > kMaxQueueSize) {
                return fail("a request in flight is none that a driver can have made");
            }
            lowest = id + 1;
        }
        entries_ = entries;
        next_id_ = next_id;
        return {};
    }

  private:
    Entries entries_;
    std::uint64_t next_id_ = 0;
};

}  // namespace ftvmm::virtio
