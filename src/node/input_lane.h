// A bounded road from one host thread to the vCPU thread, which takes only what the guest wants.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/spsc_queue.h"
#include "node/doorbell.h"
#include "node/waker.h"

namespace ftvmm::node {

// The producer's thread calls has_room() and push(), the vCPU's thread the others. Nothing is lost:
// a full lane has no room, and the producer's bell rings once half of it is free again.
//
// Neither side is woken for nothing. The consumer says with shut() that it will look by itself
// after every stop of the guest, so that values the guest does not want yet wake nobody.
//
// Every flag is read and written by read-modify-writes, and each side touches the queue in between:
// of two sides that miss each other's flag, the later one sees the other's change to the queue.
template <class T>
class InputLane {
  public:
    // `waker` and `producer` outlive it.
    InputLane(std::size_t capacity, Waker& waker, Doorbell& producer)
        : queue_(capacity), waker_(waker), producer_(producer) {}

    [[nodiscard]] bool has_room() {
        if (queue_.size() < queue_.capacity()) return true;
        starved_.exchange(true);
        return queue_.size() < queue_.capacity();
    }
    // Only with room.
    void push(T&& value) {
        const bool pushed = queue_.try_push(std::move(value));
        FTVMM_CHECK(pushed, "a lane with room takes a value");
        if (shut_.fetch_add(0) == 0) waker_.wake();
    }

    [[nodiscard]] std::optional<T> take() {
        if (shut_.load(std::memory_order_relaxed) != 0) shut_.exchange(0);
        std::optional<T> value = queue_.try_pop();
        if (value && queue_.size() <= queue_.capacity() / 2 && starved_.exchange(false)) {
            producer_.ring();
        }
        return value;
    }
    [[nodiscard]] bool is_empty() const { return queue_.size() == 0; }
    // The guest wants none now.
    void shut() {
        if (shut_.load(std::memory_order_relaxed) == 0) shut_.exchange(1);
    }
    [[nodiscard]] bool is_shut() const { return shut_.load(std::memory_order_relaxed) != 0; }

  private:
    SpscQueue<T> queue_;
    Waker& waker_;
    Doorbell& producer_;
    std::atomic<int> shut_{0};          // Written by the consumer.
    std::atomic<bool> starved_{false};  // The producer waits for its bell.
};

}  // namespace ftvmm::node
