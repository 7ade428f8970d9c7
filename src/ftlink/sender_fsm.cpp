#include "ftlink/sender_fsm.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace ftvmm::ftlink {

SenderFsm::SenderFsm(replay::Seq first, Instant now, const LinkLimits& limits)
    : limits_(limits), next_offered_(first), next_sent_(first), last_sent_at_(now) {
    last_ack_.next_received = first;
    last_ack_.next_replayed = first;
}

void SenderFsm::offer(replay::ClosedBatch batch, Instant now) {
    if (state_ == State::kLeft || state_ == State::kBroken) return;
    FTVMM_CHECK(state_ == State::kRuns, "nothing is offered behind a goodbye");
    FTVMM_CHECK(batch.first == next_offered_ && batch.last >= batch.first,
                "batches are offered in order, without gaps");
    next_offered_ = batch.last + 1;
    queued_bytes_ += batch.bytes.size();
    queued_.push_back({std::move(batch), now});
}

void SenderFsm::say_goodbye(GoodbyeReason reason) {
    if (state_ == State::kLeft || state_ == State::kBroken) return;
    FTVMM_CHECK(state_ == State::kRuns, "goodbye is said once");
    state_ = State::kLeaving;
    owed_goodbye_ = reason;
}

Result<void> SenderFsm::step(const Frame& frame, Instant now) {
    if (state_ == State::kLeft) return fail("the Secondary has left and still sends");
    if (state_ == State::kBroken) return fail("the link to the Secondary is broken");
    const auto taken = [&]() -> Result<void> {
        if (frame.kind == FrameKind::kAck) {
            FTVMM_ASSIGN(const auto ack, decode_ack(frame.payload));
            return step_ack(ack);
        }
        if (frame.kind == FrameKind::kControl) {
            FTVMM_ASSIGN(const auto control, decode_control(frame.payload));
            return step_control(control);
        }
        return fail(fmt::format("{} is nothing that a Secondary sends", name_of(frame.kind)));
    }();
    if (!taken) return broken(taken.error());
    throttle_.observe(lag(now), now);
    return {};
}

Result<void> SenderFsm::step_ack(const Ack& ack) {
    if (ack.next_received < last_ack_.next_received ||
        ack.next_replayed < last_ack_.next_replayed || ack.answers < last_ack_.answers) {
        return fail("an ack takes back what one before it said");
    }
    if (ack.next_received > next_sent_ || ack.answers > last_number()) {
        return fail("an ack is of something that was not sent");
    }
    if (ack.answers > last_ack_.answers) {
        const auto answered = ack.answers - last_ack_.answers;
        answered_sent_at_ = sent_at_.at(answered - 1);
        sent_at_.erase(sent_at_.begin(), sent_at_.begin() + static_cast<std::ptrdiff_t>(answered));
        probes_ = 0;
    }
    while (!unreplayed_.empty() && unreplayed_.front().last < ack.next_replayed) {
        unreplayed_bytes_ -= unreplayed_.front().bytes;
        unreplayed_records_ -= unreplayed_.front().records;
        unreplayed_.pop_front();
    }
    last_ack_ = ack;
    return {};
}

Result<void> SenderFsm::step_control(const Control& control) {
    if (control.kind != ControlKind::kGoodbye) return fail("a Secondary sends no probes");
    peer_goodbye_ = control.reason;
    state_ = State::kLeft;
    return {};
}

Failure SenderFsm::broken(const Error& error) {
    state_ = State::kBroken;
    return Failure(error.with_context("from the Secondary"));
}

void SenderFsm::tick(Instant now) {
    throttle_.observe(lag(now), now);
    if (has_said_goodbye() || now - last_sent_at_ < limits_.probe_every) return;
    if (probes_ < limits_.unanswered_probes) owes_probe_ = true;
}

bool SenderFsm::may_send(const Queued& queued) const {
    if (unreplayed_.empty()) return true;
    const std::size_t records = queued.batch.last - queued.batch.first + 1;
    return unreplayed_bytes_ + queued.batch.bytes.size() < limits_.unreplayed_bytes &&
           unreplayed_records_ + records < limits_.unreplayed_records;
}

bool SenderFsm::has_said_goodbye() const {
    return state_ == State::kLeaving && !owed_goodbye_;
}

bool SenderFsm::has_frames() const {
    if (state_ == State::kLeft || state_ == State::kBroken || has_said_goodbye()) return false;
    if (!queued_.empty()) return owes_probe_ || may_send(queued_.front());
    return owes_probe_ || owed_goodbye_;
}

std::vector<OutgoingFrame> SenderFsm::take_frames(Instant now) {
    std::vector<OutgoingFrame> frames;
    if (!has_frames()) return frames;
    std::size_t bytes = 0;
    while (!queued_.empty() && may_send(queued_.front()) && bytes < kMostFrameBytes) {
        frames.push_back(send(std::move(queued_.front())));
        queued_.pop_front();
        note_sent(now);
        bytes += frames.back().size();
    }
    // A batch is answered as well as a probe.
    if (owes_probe_ && frames.empty()) {
        frames.push_back(make_frame(FrameKind::kControl, encode(Control{})));
        note_sent(now);
        ++probes_;
    }
    owes_probe_ = false;
    if (owed_goodbye_ && queued_.empty()) {
        const Control goodbye{ControlKind::kGoodbye, *std::exchange(owed_goodbye_, std::nullopt)};
        frames.push_back(make_frame(FrameKind::kControl, encode(goodbye)));
        note_sent(now);
    }
    return frames;
}

OutgoingFrame SenderFsm::send(Queued queued) {
    auto& batch = queued.batch;
    const std::size_t records = batch.last - batch.first + 1;
    queued_bytes_ -= batch.bytes.size();
    unreplayed_bytes_ += batch.bytes.size();
    unreplayed_records_ += records;
    unreplayed_.push_back({batch.last, records, batch.bytes.size(), queued.offered_at});
    next_sent_ = batch.last + 1;
    return make_frame(FrameKind::kBatch, std::move(batch.bytes));
}

void SenderFsm::note_sent(Instant now) {
    sent_at_.push_back(now);
    last_sent_at_ = now;
}

MessageNumber SenderFsm::last_number() const {
    return last_ack_.answers + sent_at_.size();
}

BootClock::duration SenderFsm::lag(Instant now) const {
    if (!unreplayed_.empty()) return now - unreplayed_.front().offered_at;
    if (!queued_.empty()) return now - queued_.front().offered_at;
    return {};
}

}  // namespace ftvmm::ftlink
