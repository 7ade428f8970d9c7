#include "node/vcpu_control.h"

#include <utility>

namespace ftvmm::node {

void VcpuControl::press_power_button() {
    power_button_ = true;
    waker_.wake();
}

void VcpuControl::stop() {
    stopping_ = true;
    waker_.wake();
}

Result<void> VcpuControl::call(Call call) {
    std::future<bool> answered;
    {
        const std::lock_guard guard(mutex_);
        if (closed_) return fail("the VM has ended");
        calls_.push_back(Waiting{std::move(call), {}});
        answered = calls_.back().answered.get_future();
    }
    waker_.wake();
    if (!answered.get()) return fail("the VM ended before it could be asked");
    return {};
}

void VcpuControl::answer_calls(replay::GuestMachine& machine) {
    std::unique_lock lock(mutex_);
    while (!calls_.empty()) {
        Waiting waiting = std::move(calls_.front());
        calls_.pop_front();
        lock.unlock();
        waiting.call(machine);
        waiting.answered.set_value(true);
        lock.lock();
    }
}

void VcpuControl::close() {
    const std::lock_guard guard(mutex_);
    closed_ = true;
    for (Waiting& waiting : std::exchange(calls_, {}))
        waiting.answered.set_value(false);
}

}  // namespace ftvmm::node
