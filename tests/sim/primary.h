// The Primary's host: its vCPU, its gate, and its end of the link.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "ftlink/frame.h"
#include "ftlink/output_gate.h"
#include "ftlink/sender_fsm.h"
#include "guest.h"
#include "judge.h"
#include "pipe.h"
#include "plan.h"

namespace ftvmm::sim {

// Instants are true time; the FSMs are told what the host's clock shows.
class Primary {
  public:
    Primary(const Plan& plan, Judge& judge, Pipe& log, Pipe& acks);

    // Does all that is due.
    void run(Instant now);
    // When something is.
    [[nodiscard]] Instant wake() const;

    void pause(Instant end) { paused_to_ = std::max(paused_to_, end); }
    // It learns that the connection is gone.
    void lose_link(Instant now);
    // It shuts its gate and says goodbye.
    void hand_over(Instant now);

    [[nodiscard]] bool has_lost_link() const { return lost_link_; }
    [[nodiscard]] bool has_handed_over() const { return handed_over_; }
    // The guest has ended, and all of it is replayed and released.
    [[nodiscard]] bool is_drained() const;
    [[nodiscard]] std::size_t stalls() const { return stalls_; }
    [[nodiscard]] const Guest& guest() const { return guest_; }

  private:
    struct Request {
        Instant done_at;
        replay::Output output;
    };

    void read(Instant now);
    void note_ack(Instant host);
    void release(Instant now);
    void run_guest(Instant now);
    void offer_batches(Instant host);
    void write(Instant now);
    void check_bounds() const;

    const Plan& plan_;
    Judge& judge_;
    Pipe& log_;
    Pipe& acks_;
    SeededEntropy random_;
    Guest guest_;
    ftlink::OutputGate gate_;
    ftlink::SenderFsm sender_;
    ftlink::FrameDecoder decoder_;
    std::vector<std::byte> outbox_;
    std::vector<Request> requests_;
    Instant guest_at_{};
    Instant tick_at_{};
    Instant paused_to_{};
    bool lost_link_ = false;
    bool handed_over_ = false;
    std::size_t largest_batch_ = 0;
    std::size_t stalls_ = 0;
};

}  // namespace ftvmm::sim
