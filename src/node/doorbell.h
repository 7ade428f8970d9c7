// Wakes a thread that sleeps in poll(2) on several descriptors, and costs little when it is awake.
#pragma once

#include <atomic>

#include "base/result.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::node {

// One thread sleeps, any may ring. The sleeper calls before_sleep(), looks at its queues once more,
// and only if they are empty waits until fd() is readable; then after_sleep(). Who rings has put
// the work into a queue before. The queue's own loads and stores are ordered by the exchanges here.
class Doorbell {
  public:
    static Result<Doorbell> create() {
        FTVMM_ASSIGN(host::EventFd event, host::EventFd::create());
        return Doorbell(std::move(event));
    }
    // Before any thread knows it.
    Doorbell(Doorbell&& other) noexcept : event_(std::move(other.event_)) {}
    Doorbell& operator=(Doorbell&&) = delete;
    Doorbell(const Doorbell&) = delete;
    Doorbell& operator=(const Doorbell&) = delete;
    ~Doorbell() = default;

    void ring() {
        if (asleep_.exchange(false)) event_.signal();
    }

    [[nodiscard]] int fd() const { return event_.get(); }
    void before_sleep() { asleep_.exchange(true); }
    // `readable`: fd() was. A ring whose signal is still on its way costs one wake-up more, later.
    void after_sleep(bool readable) {
        asleep_.exchange(false);
        if (readable) event_.drain();
    }

  private:
    explicit Doorbell(host::EventFd event) : event_(std::move(event)) {}

    host::EventFd event_;
    std::atomic<bool> asleep_{false};
};

}  // namespace ftvmm::node
