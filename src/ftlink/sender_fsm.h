// The Primary's end of the link: batches in, frames out, acks in. Pure.
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
#include "replay/recorder.h"

namespace ftvmm::ftlink {

// One connection's, from where the log starts on it. It holds what was not sent, and of what was
// sent no more than its sizes and times: a connection that is lost is not taken up again. One
// thread; instants are CLOCK_BOOTTIME's.
//
//   state     | offer()   | say_goodbye() | step(goodbye) | an error of step()
//   kRuns     | queued    | kLeaving      | kLeft         | kBroken
//   kLeaving  | a mistake | a mistake     | kLeft         | kBroken
//   kLeft, kBroken: nothing is sent any more; what is offered is dropped, every step() is an error.
//
// Behind each step(): gate.ack(next_received()), and gate.answered() with answered_sent_at(). Where
// verdict() says that the guests differ, what the Secondary holds is worth nothing: gate.shut().
class SenderFsm {
  public:
    // `first` is the number of the first record that is offered.
    explicit SenderFsm(replay::Seq first, Instant now, const LinkLimits& limits = {});

    // The log goes on with `batch`, packed or not. Never refuses; who can wait asks is_full()
    // before.
    void offer(replay::ClosedBatch batch, Instant now);
    // The vCPU has to stand still: as much waits here as may.
    [[nodiscard]] bool is_full() const { return queued_bytes_ >= limits_.queued_bytes; }
    // The last message, behind everything that was offered. For kHandsOver the gate was shut
    // before.
    void say_goodbye(GoodbyeReason reason);

    // What the Secondary sent. An error: it does not keep to the protocol; the connection is to be
    // closed, and nothing that the frame said counts.
    [[nodiscard]] Result<void> step(const Frame& frame, Instant now);
    // Time passes: at least each probe_every.
    void tick(Instant now);
    // What is to be written next, in order. The caller takes it when it can write, right before it
    // does: `now` is when these messages count as sent. At most kMostFrameBytes and one frame more.
    [[nodiscard]] std::vector<OutgoingFrame> take_frames(Instant now);
    // Whether there is anything to take.
    [[nodiscard]] bool has_frames() const;

    // The Secondary holds every record before, and has replayed every record before.
    [[nodiscard]] replay::Seq next_received() const { return last_ack_.next_received; }
    [[nodiscard]] replay::Seq next_replayed() const { return last_ack_.next_replayed; }
    [[nodiscard]] Verdict verdict() const { return last_ack_.verdict; }
    [[nodiscard]] GuestTime replayed_time() const { return last_ack_.replayed_time; }
    // When the newest message that was answered was sent: what the release lease counts from.
    [[nodiscard]] const std::optional<Instant>& answered_sent_at() const {
        return answered_sent_at_;
    }
    // How the Secondary left.
    [[nodiscard]] const std::optional<GoodbyeReason>& goodbye() const { return peer_goodbye_; }
    // How long ago the oldest batch was offered that is not replayed, as far as this side knows;
    // zero where there is none.
    [[nodiscard]] BootClock::duration lag(Instant now) const;
    // As of the last tick() or step().
    [[nodiscard]] const Throttle& throttle() const { return throttle_; }
    // Of batches: offered and not sent; sent and not replayed.
    [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }
    [[nodiscard]] std::size_t unreplayed_bytes() const { return unreplayed_bytes_; }
    [[nodiscard]] std::size_t unreplayed_records() const { return unreplayed_records_; }

    // What one take_frames() gives: a few large TLS records.
    static constexpr std::size_t kMostFrameBytes = std::size_t{256} << 10U;

  private:
    enum class State : std::uint8_t { kRuns, kLeaving, kLeft, kBroken };
    struct Queued {
        replay::ClosedBatch batch;
        Instant offered_at;
    };
    // A batch that was sent and is not replayed.
    struct Sent {
        replay::Seq last;
        std::size_t records = 0;
        std::size_t bytes = 0;
        Instant offered_at;
    };

    [[nodiscard]] Result<void> step_ack(const Ack& ack);
    [[nodiscard]] Result<void> step_control(const Control& control);
    [[nodiscard]] Failure broken(const Error& error);
    [[nodiscard]] bool has_said_goodbye() const;
    [[nodiscard]] bool may_send(const Queued& queued) const;
    [[nodiscard]] OutgoingFrame send(Queued queued);
    void note_sent(Instant now);
    [[nodiscard]] MessageNumber last_number() const;

    LinkLimits limits_;
    State state_ = State::kRuns;
    std::deque<Queued> queued_;
    std::size_t queued_bytes_ = 0;
    replay::Seq next_offered_;
    replay::Seq next_sent_;
    std::deque<Sent> unreplayed_;
    std::size_t unreplayed_bytes_ = 0;
    std::size_t unreplayed_records_ = 0;
    std::deque<Instant> sent_at_;  // Of the messages behind the newest that was answered.
    Ack last_ack_;
    std::optional<Instant> answered_sent_at_;
    Instant last_sent_at_;
    std::size_t probes_ = 0;  // Since the last answer.
    bool owes_probe_ = true;  // At once: it is what brings the first lease.
    std::optional<GoodbyeReason> owed_goodbye_;
    std::optional<GoodbyeReason> peer_goodbye_;
    Throttle throttle_;
};

}  // namespace ftvmm::ftlink
