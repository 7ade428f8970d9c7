// The Secondary's host: its end of the link, its replay, and when it goes live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "ftlink/frame.h"
#include "ftlink/receiver_fsm.h"
#include "judge.h"
#include "pipe.h"
#include "plan.h"
#include "replay/replayer.h"
#include "toy_machine.h"

namespace ftvmm::sim {

// Instants are true time; the FSM is told what the host's clock shows.
class Secondary {
  public:
    Secondary(const Plan& plan, Judge& judge, Pipe& log, Pipe& acks);

    // Does all that is due.
    void run(Instant now);
    // When something is.
    [[nodiscard]] Instant wake() const;

    void pause(Instant end) { paused_to_ = std::max(paused_to_, end); }
    // The next answer is made, and sent so much later.
    void hold_answer(BootClock::duration time) { hold_for_ = time; }
    void be_slow(Instant end) { slow_to_ = std::max(slow_to_, end); }
    // It learns that the connection is gone.
    void lose_link(Instant now);

    [[nodiscard]] bool has_lost_link() const { return lost_link_; }
    [[nodiscard]] std::uint64_t memory_hash() const { return machine_->memory_hash(); }

  private:
    [[nodiscard]] bool may_read() const;
    void read(Instant now);
    void take_frames(Instant now);
    void drop_frame();
    void ack_early(Instant now);
    void replay_one();
    void replay(Instant now);
    void write(Instant now);
    void consider_going_live(Instant now);
    void go_live(Instant now);
    void promise(Instant now);
    void check_bounds() const;

    const Plan& plan_;
    Judge& judge_;
    Pipe& log_;
    Pipe& acks_;
    SeededEntropy random_;
    ftlink::ReceiverFsm receiver_;
    ftlink::FrameDecoder decoder_;
    replay::Replayer replayer_;
    std::unique_ptr<replay::testing::ToyMachine> machine_;
    std::uint64_t lives_ = 0;
    std::vector<std::byte> outbox_;
    Instant replay_at_{};
    Instant tick_at_ = kNever;
    Instant paused_to_{};
    Instant slow_to_{};
    Instant heard_at_{};
    Instant promised_at_{};
    std::optional<BootClock::duration> hold_for_;
    bool lost_link_ = false;
    bool has_more_ = true;  // To replay.
    std::size_t largest_batch_ = 0;
    std::vector<std::byte> undecoded_;  // What ack_early() looks at.
};

}  // namespace ftvmm::sim
