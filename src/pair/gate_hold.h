// The gate between a Primary's guest and the world.
#pragma once

#include <functional>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/durations.h"
#include "ftlink/output_gate.h"
#include "node/output_hold.h"

namespace ftvmm::pair {

// ftlink::OutputGate for several threads: the vCPU thread holds outputs and lets them go, the
// link's thread tells what the Secondary has, lock's until when the storage grants the VM. Any may
// look.
class GateHold final : public node::OutputHold, public node::OutputRight {
  public:
    // `wake` wakes the vCPU thread; it is called on the link's.
    GateHold(std::function<void()> wake, const ftlink::ReleaseLeases& leases);

    void hold(std::optional<replay::Seq> mark, replay::Output&& output) override;
    [[nodiscard]] std::optional<replay::Output> take_free() override;
    [[nodiscard]] bool is_full() const override;
    [[nodiscard]] bool is_empty() const override;
    [[nodiscard]] bool holds() const override;

    // There is a Secondary, which has all before `next`.
    void pair(replay::Seq next);
    // It has all before `next`, and the newest message that it answered was sent at `answered`.
    void acked(replay::Seq next, std::optional<Instant> answered);
    // Nothing leaves until it is paired or open.
    void shut();
    // Nobody follows, and nobody else can be the Primary: all leaves, now and from here on.
    void open();
    // As of ftlink::OutputGate.
    void storage_holds(Instant until);

    [[nodiscard]] ftlink::OutputGate::State state() const;
    [[nodiscard]] Durations hold_times() const;
    // What waits.
    [[nodiscard]] std::size_t outputs() const;

  private:
    void wake_if_released();

    std::function<void()> wake_;
    SystemClock clock_;
    mutable std::mutex mutex_;  // Guards what follows.
    ftlink::OutputGate gate_;
};

}  // namespace ftvmm::pair
