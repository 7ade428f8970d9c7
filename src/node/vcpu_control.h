// What other threads may ask of the vCPU thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <mutex>

#include "base/result.h"
#include "node/statistics.h"
#include "node/waker.h"
#include "replay/guest_machine.h"

namespace ftvmm::node {

// Lives as long as the run, over all power-ons of the guest.
class VcpuControl {
  public:
    using Call = std::function<void(replay::GuestMachine&)>;

    // Of the run so far. The vCPU thread's own: for others in a call(), or after the run.
    [[nodiscard]] Statistics& statistics() { return statistics_; }

    // Any thread.
    [[nodiscard]] Waker& waker() { return waker_; }
    void press_power_button();
    // The run ends at the next stop, as if the power went.
    void stop();
    [[nodiscard]] bool is_stopping() const { return stopping_; }
    // Calls `call` on the vCPU thread while the machine stands still, landmark or not, and waits
    // for its end. An error: the run ended first. Not from the vCPU thread.
    [[nodiscard]] Result<void> call(Call call);

    // The guest gets so much of the time, from 1 to 100.
    void set_duty_percent(std::uint32_t percent) { duty_percent_ = percent; }

    // The vCPU thread's own.
    [[nodiscard]] std::uint32_t duty_percent() const { return duty_percent_; }
    [[nodiscard]] bool has_power_button() const { return power_button_; }
    [[nodiscard]] bool take_power_button() { return power_button_.exchange(false); }
    void answer_calls(replay::GuestMachine& machine);
    // No call is answered from here on.
    void close();

  private:
    struct Waiting {
        Call call;
        std::promise<bool> answered;
    };

    Waker waker_;
    Statistics statistics_;
    std::atomic<bool> power_button_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint32_t> duty_percent_{100};
    std::mutex mutex_;  // Guards what follows.
    std::deque<Waiting> calls_;
    bool closed_ = false;
};

}  // namespace ftvmm::node
