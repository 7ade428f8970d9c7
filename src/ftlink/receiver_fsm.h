// The Secondary's end of the link: frames in, batches out, acks out. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ftlink/flow_control.h"
#include "ftlink/frame.h"
#include "ftlink/messages.h"
#include "replay/record.h"

namespace ftvmm::ftlink {

// One connection's, from where the log starts on it. A batch that is whole, checked and decoded is
// acked at once, before it is replayed. One thread; instants are CLOCK_BOOTTIME's.
//
//   state      | step()                  | acks | finish()
//   kRuns      | batches, messages       | yes  | kFinished
//   kLeft      | an error                | one  | kFinished      the Primary said goodbye
//   kLeaving   | batches, messages       | one  | kFinished      this side said goodbye
//   kBroken    | an error                | no   | kFinished      step() was an error
//   kFinished  | an error                | no   |                nothing is promised any more
class ReceiverFsm {
  public:
    // `first` is the number of the first record that comes.
    explicit ReceiverFsm(replay::Seq first, Instant now, const LinkLimits& limits = {});

    // Whether it holds as much as it may: the caller decodes no further frame and reads no more,
    // until the replay has come on. What it holds is at most the limits and one batch more.
    [[nodiscard]] bool is_full() const;
    // What the Primary sent; not while is_full(). An error: a record is missing or comes twice, a
    // batch is damaged, or it is no message for a Secondary. The connection is to be closed; what
    // came before is held and counts.
    [[nodiscard]] Result<void> step(const Frame& frame, Instant now);
    // What came since the last call, in order, without gaps: all of it is for Replayer::feed().
    [[nodiscard]] std::vector<replay::Batch> take_batches();

    // The replay has done every record before `next`; its guest's clock shows `time`.
    void replayed(replay::Seq next, GuestTime time);
    // The Primary is to hear that this side lives, though no message of it was taken.
    void answer_again();
    // The guest does not do what the log says: the Primary is told at once.
    void diverged();
    // This side will never go live: the last message is due, behind an ack.
    void say_goodbye(GoodbyeReason reason);

    // Time passes: at least each replay_ack_every while there is something to replay.
    void tick(Instant now);
    // What is to be written next. Each ack in it is a promise, made `now`: see promised_at(). The
    // caller takes it when it can write, so that one ack stands for all that came in the meantime.
    [[nodiscard]] std::vector<OutgoingFrame> take_frames(Instant now);
    [[nodiscard]] bool has_frames() const { return owes_ack_ || owed_goodbye_.has_value(); }

    // No promise is made from here on, whatever comes: the first step of going live. Batches that
    // were not taken stay to be taken.
    void finish();
    // When the last ack was made, or this FSM. The Secondary does not go live before dead_timeout
    // has passed since then, unless the Primary handed over.
    [[nodiscard]] Instant promised_at() const { return promised_at_; }
    // When the last frame of the Primary came, or this FSM was made.
    [[nodiscard]] Instant heard_at() const { return heard_at_; }
    // How the Primary left.
    [[nodiscard]] const std::optional<GoodbyeReason>& goodbye() const { return peer_goodbye_; }

    // Every record before it came; every record before it was replayed.
    [[nodiscard]] replay::Seq next_received() const { return next_received_; }
    [[nodiscard]] replay::Seq next_replayed() const { return next_replayed_; }
    // Of batches that came and are not replayed, those that were taken included.
    [[nodiscard]] std::size_t unreplayed_bytes() const { return unreplayed_bytes_; }
    [[nodiscard]] std::size_t unreplayed_records() const { return next_received_ - next_replayed_; }

  private:
    enum class State : std::uint8_t { kRuns, kLeft, kLeaving, kBroken, kFinished };
    struct Held {
        replay::Seq next;  // Behind its last record.
        std::size_t bytes = 0;
    };

    [[nodiscard]] Result<void> step_batch(std::span<const std::byte> payload);
    [[nodiscard]] Result<void> step_control(std::span<const std::byte> payload);
    [[nodiscard]] bool may_ack() const;
    [[nodiscard]] Ack ack() const;

    LinkLimits limits_;
    State state_ = State::kRuns;
    replay::Seq next_received_;
    replay::Seq next_replayed_;
    replay::Seq acked_replayed_;
    GuestTime replayed_time_{};
    Verdict verdict_ = Verdict::kAgrees;
    std::vector<replay::Batch> batches_;
    std::deque<Held> held_;
    std::size_t unreplayed_bytes_ = 0;
    MessageNumber newest_;  // That came.
    bool owes_ack_ = false;
    Instant promised_at_;
    Instant heard_at_;
    std::optional<GoodbyeReason> owed_goodbye_;
    std::optional<GoodbyeReason> peer_goodbye_;
};

}  // namespace ftvmm::ftlink
