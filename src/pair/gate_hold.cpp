#include "pair/gate_hold.h"

#include <utility>

namespace ftvmm::pair {

using ftlink::OutputGate;

GateHold::GateHold(std::function<void()> wake, const ftlink::ReleaseLeases& leases)
    : wake_(std::move(wake)), gate_(leases) {}

void GateHold::hold(std::optional<replay::Seq> mark, replay::Output&& output) {
    const std::lock_guard guard(mutex_);
    gate_.push(mark.value_or(gate_.last_mark()), std::move(output), clock_.now());
}

std::optional<replay::Output> GateHold::take_free() {
    const std::lock_guard guard(mutex_);
    auto released = gate_.take_released(clock_.now());
    if (!released) return std::nullopt;
    return std::move(released->output);
}

bool GateHold::is_full() const {
    const std::lock_guard guard(mutex_);
    return gate_.is_full();
}

bool GateHold::is_empty() const {
    const std::lock_guard guard(mutex_);
    return gate_.outputs() == 0;
}

bool GateHold::holds() const {
    const std::lock_guard guard(mutex_);
    return gate_.holds(clock_.now());
}

void GateHold::pair(replay::Seq next) {
    const std::lock_guard guard(mutex_);
    gate_.pair(next);
}

void GateHold::acked(replay::Seq next, std::optional<Instant> answered) {
    {
        const std::lock_guard guard(mutex_);
        gate_.ack(next);
        if (answered) gate_.answered(*answered);
    }
    wake_if_released();
}

void GateHold::storage_holds(Instant until) {
    {
        const std::lock_guard guard(mutex_);
        gate_.storage_holds(until);
    }
    wake_if_released();
}

void GateHold::wake_if_released() {
    {
        const std::lock_guard guard(mutex_);
        if (!gate_.has_released(clock_.now())) return;
    }
    wake_();
}

void GateHold::shut() {
    const std::lock_guard guard(mutex_);
    gate_.shut();
}

void GateHold::open() {
    {
        const std::lock_guard guard(mutex_);
        gate_.open();
    }
    wake_();
}

OutputGate::State GateHold::state() const {
    const std::lock_guard guard(mutex_);
    return gate_.state();
}

Durations GateHold::hold_times() const {
    const std::lock_guard guard(mutex_);
    return gate_.hold_times();
}

std::size_t GateHold::outputs() const {
    const std::lock_guard guard(mutex_);
    return gate_.outputs();
}

}  // namespace ftvmm::pair
