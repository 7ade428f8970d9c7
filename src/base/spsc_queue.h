// A bounded queue from one thread to one other, without locks: the road between vcpu and io.
//
// Contract: try_push on one thread (the producer), try_pop on one thread (the consumer), at the
// same time. Full means try_push gives the value back: the caller applies back-pressure, nothing is
// ever dropped. size() is exact for the producer and consumer when the other stands still, else a
// bound.
#pragma once

#include <atomic>
#include <cstddef>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ftvmm {

template <class T>
class SpscQueue {
  public:
    // Holds up to `capacity` values, at least 1.
    explicit SpscQueue(std::size_t capacity) : slots_(capacity) {
        FTVMM_CHECK(capacity > 0, "a queue holds at least one value");
    }
    SpscQueue(const SpscQueue&) = delete;
    SpscQueue& operator=(const SpscQueue&) = delete;
    SpscQueue(SpscQueue&&) = delete;
    SpscQueue& operator=(SpscQueue&&) = delete;
    ~SpscQueue() = default;

    // True: `value` was moved in. False: the queue is full and `value` is untouched.
    [[nodiscard]] bool try_push(T&& value) {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) == slots_.size()) return false;
        slots_[tail % slots_.size()].emplace(std::move(value));
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    // The oldest value, or nothing when the queue is empty.
    [[nodiscard]] std::optional<T> try_pop() {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
        std::optional<T>& slot = slots_[head % slots_.size()];
        std::optional<T> value = std::exchange(slot, std::nullopt);
        head_.store(head + 1, std::memory_order_release);
        return value;
    }

    [[nodiscard]] std::size_t size() const {
        // The head is read first: it never passes the tail, so the difference is never negative.
        const std::size_t head = head_.load(std::memory_order_acquire);
        return tail_.load(std::memory_order_acquire) - head;
    }
    [[nodiscard]] std::size_t capacity() const { return slots_.size(); }

  private:
    // 64 is the cache line of every x86-64 host: head and tail never share one.
    static constexpr std::size_t kCacheLineBytes = 64;

    std::vector<std::optional<T>> slots_;
    alignas(kCacheLineBytes) std::atomic<std::size_t> head_{0};  // Written by the consumer.
    alignas(kCacheLineBytes) std::atomic<std::size_t> tail_{0};  // Written by the producer.
};

}  // namespace ftvmm
