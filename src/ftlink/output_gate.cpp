#include "ftlink/output_gate.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"

namespace ftvmm::ftlink {

OutputGate::OutputGate(const ReleaseLeases& leases, const GateLimits& limits)
    : leases_(leases), limits_(limits) {}

void OutputGate::push(replay::Seq mark, replay::Output output, Instant now) {
    FTVMM_CHECK(mark >= last_mark_, "outputs come in the order of their marks");
    last_mark_ = mark;
    const std::size_t bytes = bytes_of(output);
    bytes_ += bytes;
    Held& held = held_.emplace_back();
    held.output.mark = mark;
    held.output.output = std::move(output);
    held.since = now;
    held.bytes = bytes;
}

bool OutputGate::is_full() const {
    return held_.size() >= limits_.outputs || bytes_ >= limits_.bytes;
}

void OutputGate::shut() {
    enter(State::kShut);
}

void OutputGate::pair(replay::Seq next_received) {
    enter(State::kGated);
    next_received_ = next_received;
}

void OutputGate::open() {
    enter(State::kOpen);
}

void OutputGate::enter(State state) {
    state_ = state;
    next_received_ = {};
    peer_until_.reset();
}

void OutputGate::ack(replay::Seq next_received) {
    if (state_ == State::kGated) next_received_ = std::max(next_received_, next_received);
}

void OutputGate::answered(Instant sent_at) {
    if (state_ != State::kGated) return;
    const Instant until = sent_at + leases_.peer;
    peer_until_ = peer_until_ ? std::max(*peer_until_, until) : until;
}

std::optional<Instant> OutputGate::lease_end() const {
    switch (state_) {
        case State::kShut:
            return std::nullopt;
        case State::kGated:
            if (!peer_until_) return std::nullopt;
            return std::min(*peer_until_, storage_until_);
        case State::kOpen:
            break;
    }
    return storage_until_;
}

bool OutputGate::holds(Instant now) const {
    const auto end = lease_end();
    return end && now < *end;
}

bool OutputGate::has_released(Instant now) const {
    if (held_.empty() || !holds(now)) return false;
    return state_ == State::kOpen || held_.front().output.mark < next_received_;
}

std::optional<OutputGate::Released> OutputGate::take_released(Instant now) {
    std::optional<Released> released;
    if (!has_released(now)) return released;
    Held& held = held_.front();
    bytes_ -= held.bytes;
    hold_times_.add(now - held.since);
    released.emplace(std::move(held.output));
    held_.pop_front();
    return released;
}

std::optional<replay::Seq> OutputGate::newest_mark() const {
    if (held_.empty()) return std::nullopt;
    return held_.back().output.mark;
}

std::optional<Instant> OutputGate::waits_since() const {
    if (held_.empty()) return std::nullopt;
    return held_.front().since;
}

std::size_t bytes_of(const replay::Output& output) {
    const std::size_t pointed_to = std::visit(
        Overloaded{
            [](const replay::output::ConsoleBytes& console) { return console.bytes.size(); },
            [](const replay::output::Packet& packet) { return packet.frame.size(); },
            [](const replay::output::DiskRequest& request) { return request.data.size(); },
            [](const auto&) { return std::size_t{0}; },
        },
        output);
    return sizeof(replay::Output) + pointed_to;
}

}  // namespace ftvmm::ftlink
