#include "primary.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ftvmm::sim {

namespace {

constexpr auto kTickEvery = std::chrono::milliseconds(1);
// How soon a vCPU that stands still looks again.
constexpr auto kStalledFor = std::chrono::microseconds(50);
// What one stop of a toy puts out.
constexpr std::size_t kMostOutputsOfStop = 2;
constexpr std::size_t kMostBytesOfStop = 2000;

}  // namespace

Primary::Primary(const Plan& plan, Judge& judge, Pipe& log, Pipe& acks)
    : plan_(plan),
      judge_(judge),
      log_(log),
      acks_(acks),
      random_(plan.seed ^ 2U),
      guest_(plan, judge),
      gate_(plan.leases, plan.gate_limits),
      sender_(replay::Seq(0), plan.primary_clock.at({}), plan.primary_limits) {
    gate_.pair(replay::Seq(0));
}

Instant Primary::wake() const {
    Instant at = std::min(guest_at_, tick_at_);
    if (!lost_link_) at = std::min(at, acks_.readable_at());
    // What the other side has made room for.
    if (!outbox_.empty() && log_.room() > 0 && !lost_link_) at = Instant{};
    return std::max(at, paused_to_);
}

void Primary::run(Instant now) {
    if (now < paused_to_) return;
    read(now);
    release(now);
    run_guest(now);
    if (tick_at_ <= now) {
        sender_.tick(plan_.primary_clock.at(now));
        tick_at_ = now + kTickEvery;
    }
    write(now);
    release(now);
    check_bounds();
}

void Primary::read(Instant now) {
    if (lost_link_) return;
    const Instant host = plan_.primary_clock.at(now);
    decoder_.feed(acks_.read(now));
    while (true) {
        auto frame = decoder_.next();
        if (!frame) return judge_.violated(frame.error().line());
        if (!*frame) return;
        const auto taken = sender_.step(**frame, host);
        if (!taken) return judge_.violated(taken.error().line());
        note_ack(host);
    }
}

void Primary::note_ack(Instant host) {
    gate_.ack(sender_.next_received());
    if (!sender_.answered_sent_at()) return;
    if (plan_.bug == Bug::kNoLease) {
        gate_.answered(host + std::chrono::hours(1));
    } else if (plan_.bug == Bug::kLeaseFromArrival) {
        gate_.answered(host);
    } else {
        gate_.answered(*sender_.answered_sent_at());
    }
}

void Primary::release(Instant now) {
    while (auto released = gate_.take_released(plan_.primary_clock.at(now))) {
        judge_.released(replay::testing::hash_of(released->output), now);
        const bool is_answered =
            std::holds_alternative<replay::output::DiskRequest>(released->output) ||
            std::holds_alternative<replay::output::EntropyRequest>(released->output);
        if (!is_answered) continue;
        Request& request = requests_.emplace_back();
        request.done_at = now + std::chrono::nanoseconds(random_.below(1'000'000));
        request.output = std::move(released->output);
    }
}

void Primary::run_guest(Instant now) {
    if (guest_at_ > now) return;
    const Instant host = plan_.primary_clock.at(now);
    if (sender_.is_full() || gate_.is_full()) {
        guest_at_ = now + kStalledFor;
        ++stalls_;
        return;
    }
    for (const Request& request : requests_)
        if (request.done_at <= now) guest_.answer(request.output);
    std::erase_if(requests_, [&](const Request& request) { return request.done_at <= now; });
    for (Guest::Made& made : guest_.step(now, host))
        gate_.push(made.mark, std::move(made.output), host);
    offer_batches(host);
    const auto takes = static_cast<std::uint64_t>(plan_.exit_takes.count());
    // A guest that waits does so for longer.
    const std::uint64_t most = 2 * takes * (guest_.is_halted() ? 8 : 1);
    guest_at_ = now + std::chrono::nanoseconds(1 + random_.below(most)) * 100 /
                          sender_.throttle().duty_percent();
    if (guest_.has_ended()) guest_at_ = kNever;
}

void Primary::offer_batches(Instant host) {
    for (replay::ClosedBatch& batch : guest_.take_batches()) {
        largest_batch_ = std::max(largest_batch_, batch.bytes.size());
        sender_.offer(std::move(batch), host);
    }
}

void Primary::write(Instant now) {
    if (lost_link_) return;
    if (outbox_.empty()) {
        for (const auto& frame : sender_.take_frames(plan_.primary_clock.at(now))) {
            outbox_.insert(outbox_.end(), frame.header.begin(), frame.header.end());
            outbox_.insert(outbox_.end(), frame.payload.begin(), frame.payload.end());
        }
    }
    const std::size_t written = log_.write(outbox_, now);
    outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(written));
}

void Primary::lose_link(Instant now) {
    // A host that stands still learns nothing.
    if (now < paused_to_) return;
    gate_.shut();
    lost_link_ = true;
}

void Primary::hand_over(Instant now) {
    if (now < paused_to_ || lost_link_ || handed_over_) return;
    handed_over_ = true;
    gate_.shut();
    guest_.stop(now);
    offer_batches(plan_.primary_clock.at(now));
    sender_.say_goodbye(ftlink::GoodbyeReason::kHandsOver);
    guest_at_ = kNever;
}

bool Primary::is_drained() const {
    return guest_.has_ended() && gate_.outputs() == 0 && sender_.next_replayed() == guest_.next();
}

void Primary::check_bounds() const {
    const auto& limits = plan_.primary_limits;
    const bool is_one = sender_.unreplayed_bytes() <= largest_batch_;
    if (sender_.unreplayed_bytes() > limits.unreplayed_bytes && !is_one) {
        judge_.violated("the Primary has sent more than the Secondary has room for");
    }
    if (sender_.queued_bytes() > limits.queued_bytes + 2 * largest_batch_) {
        judge_.violated("the Primary goes on while the link is full");
    }
    if (gate_.outputs() > plan_.gate_limits.outputs + kMostOutputsOfStop ||
        gate_.bytes() > plan_.gate_limits.bytes + kMostBytesOfStop) {
        judge_.violated("the Primary goes on while the gate is full");
    }
}

}  // namespace ftvmm::sim
