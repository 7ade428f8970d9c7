// Storage that hangs when the test says so, and goes on when it says so.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "lock/storage_driver.h"

namespace ftvmm::lock::testing {

class HangingStorage {
  public:
    // Keeps what it needs alive.
    [[nodiscard]] decltype(StorageOptions::hook) hook() const {
        return [state = state_](const Request& request,
                                const std::function<Reply(const Request&)>& really) {
            std::unique_lock lock(state->mutex);
            if (state->hangs) {
                state->is_inside = true;
                state->changed.notify_all();
                state->changed.wait(lock, [&] { return !state->hangs; });
            }
            lock.unlock();
            Reply reply = really(request);
            lock.lock();
            state->is_inside = false;
            state->changed.notify_all();
            return reply;
        };
    }

    // The next request does.
    void hang() { set(true); }
    void go_on() { set(false); }
    void wait_until_it_hangs() const { wait(true); }
    void wait_until_it_is_left() const { wait(false); }

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        bool hangs = false;
        bool is_inside = false;
    };

    void set(bool hangs) {
        const std::lock_guard lock(state_->mutex);
        state_->hangs = hangs;
        state_->changed.notify_all();
    }
    void wait(bool is_inside) const {
        std::unique_lock lock(state_->mutex);
        state_->changed.wait(lock, [&] { return state_->is_inside == is_inside; });
    }

    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace ftvmm::lock::testing
