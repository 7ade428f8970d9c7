#include "ftlink/receiver_fsm.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "replay/log_format.h"

namespace ftvmm::ftlink {

ReceiverFsm::ReceiverFsm(replay::Seq first, Instant now, const LinkLimits& limits)
    : limits_(limits),
      next_received_(first),
      next_replayed_(first),
      acked_replayed_(first),
      promised_at_(now),
      heard_at_(now) {}

bool ReceiverFsm::is_full() const {
    return unreplayed_bytes_ >= limits_.unreplayed_bytes ||
           unreplayed_records() >= limits_.unreplayed_records;
}

Result<void> ReceiverFsm::step(const Frame& frame, Instant now) {
    if (state_ == State::kLeft) return fail("the Primary has left and still sends");
    if (state_ == State::kFinished) return fail("the link to the Primary was given up");
    if (state_ == State::kBroken) return fail("the link to the Primary is broken");
    FTVMM_CHECK(!is_full(), "no frame is taken while there is no room");
    const auto taken = [&]() -> Result<void> {
        if (frame.kind == FrameKind::kBatch) return step_batch(frame.payload);
        if (frame.kind == FrameKind::kControl) return step_control(frame.payload);
        return fail(fmt::format("{} is nothing that a Primary sends", name_of(frame.kind)));
    }();
    if (!taken) {
        state_ = State::kBroken;
        owes_ack_ = false;
        owed_goodbye_.reset();
        return Failure(taken.error().with_context("from the Primary"));
    }
    newest_ = newest_ + 1;
    heard_at_ = now;
    if (state_ != State::kLeaving) owes_ack_ = true;
    return {};
}

// Decoded before it is acked: an ack stands for records that can be replayed.
Result<void> ReceiverFsm::step_batch(std::span<const std::byte> payload) {
    FTVMM_ASSIGN(auto batch, replay::decode_batch(payload));
    if (batch.first != next_received_) {
        return fail(fmt::format("a batch begins with record {}, and {} is the next one",
                                batch.first.value(), next_received_.value()));
    }
    next_received_ = next_received_ + batch.records.size();
    unreplayed_bytes_ += payload.size();
    held_.push_back({next_received_, payload.size()});
    batches_.push_back(std::move(batch));
    return {};
}

Result<void> ReceiverFsm::step_control(std::span<const std::byte> payload) {
    FTVMM_ASSIGN(const auto control, decode_control(payload));
    if (control.kind == ControlKind::kGoodbye) {
        peer_goodbye_ = control.reason;
        state_ = State::kLeft;
    }
    return {};
}

std::vector<replay::Batch> ReceiverFsm::take_batches() {
    return std::exchange(batches_, {});
}

void ReceiverFsm::replayed(replay::Seq next, GuestTime time) {
    FTVMM_CHECK(next >= next_replayed_ && next <= next_received_,
                "a replay goes forward, and no further than what came");
    const bool was_full = is_full();
    next_replayed_ = next;
    replayed_time_ = time;
    while (!held_.empty() && held_.front().next <= next) {
        unreplayed_bytes_ -= held_.front().bytes;
        held_.pop_front();
    }
    // The Primary may wait for this; what else is replayed is said along with other things.
    if (may_ack() && was_full && !is_full()) owes_ack_ = true;
}

void ReceiverFsm::answer_again() {
    if (may_ack()) owes_ack_ = true;
}

void ReceiverFsm::diverged() {
    verdict_ = Verdict::kDiverged;
    if (may_ack()) owes_ack_ = true;
}

void ReceiverFsm::say_goodbye(GoodbyeReason reason) {
    if (state_ != State::kRuns) return;
    state_ = State::kLeaving;
    owed_goodbye_ = reason;
    owes_ack_ = true;
}

void ReceiverFsm::tick(Instant now) {
    if (!may_ack() || next_replayed_ == acked_replayed_) return;
    if (now - promised_at_ >= limits_.replay_ack_every) owes_ack_ = true;
}

bool ReceiverFsm::may_ack() const {
    return state_ == State::kRuns;
}

Ack ReceiverFsm::ack() const {
    return {next_received_, next_replayed_, newest_, replayed_time_, verdict_};
}

std::vector<OutgoingFrame> ReceiverFsm::take_frames(Instant now) {
    std::vector<OutgoingFrame> frames;
    if (std::exchange(owes_ack_, false)) {
        frames.push_back(make_frame(FrameKind::kAck, encode(ack())));
        acked_replayed_ = next_replayed_;
        promised_at_ = now;
    }
    if (owed_goodbye_) {
        const Control goodbye{ControlKind::kGoodbye, *std::exchange(owed_goodbye_, std::nullopt)};
        frames.push_back(make_frame(FrameKind::kControl, encode(goodbye)));
    }
    return frames;
}

void ReceiverFsm::finish() {
    state_ = State::kFinished;
    owes_ack_ = false;
    owed_goodbye_.reset();
}

}  // namespace ftvmm::ftlink
