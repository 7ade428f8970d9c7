// A Primary's link to the host that follows it, or is about to.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "ftlink/link_driver.h"
#include "ftlink/meeting_driver.h"
#include "ftlink/sender_fsm.h"
#include "node/batch_sink.h"
#include "pair/beats.h"
#include "pair/clone_wire.h"
#include "pair/gate_hold.h"
#include "pair/io_loop.h"
#include "pair/silence.h"
#include "replay/log_format.h"

namespace ftvmm::pair {

// How the log gets on, for people and for who decides.
struct LinkFigures {
    replay::Seq next_received;
    replay::Seq next_replayed;
    BootClock::duration lag{};
    std::uint32_t duty_percent = 100;  // What the vCPU may run.
    std::uint64_t log_bytes = 0;       // That went over.
    std::size_t queued_bytes = 0;
    bool has_diverged = false;
    bool has_left = false;  // The Secondary said goodbye.
};

// First it carries a clone, which whoever makes it sends and is answered; behind start_log() what
// the vCPU thread appends, and each ack goes to the gate. Any thread but for what says otherwise.
// Once it is lost it stays so: whoever waits is let go, what is appended is dropped.
class PrimaryLink final : public node::BatchSink {
  public:
    // `gate` and `loop` outlive it. `woken` is called on the loop's thread when figures() has news.
    // From watch() on a Secondary is lost that `beats` take for lost, or whose link is silent for
    // kStuckAfterDeaths times `dead_after` although it beats; zero: only its connection tells. Once
    // `gives_up` returns true, on any thread, nobody waits to append any more: the link is lost.
    PrimaryLink(IoLoop& loop, ftlink::Greeted greeted, const ftlink::LinkLimits& limits,
                std::unique_ptr<Beats> beats, BootClock::duration dead_after, GateHold& gate,
                std::function<void()> woken, std::function<bool()> gives_up);
    PrimaryLink(const PrimaryLink&) = delete;
    PrimaryLink& operator=(const PrimaryLink&) = delete;
    ~PrimaryLink() override;

    // Waits while much is on its way. An error: the link is lost.
    [[nodiscard]] Result<void> send(ftlink::OutgoingFrame frame);
    // What the Secondary says of its clone; waits for it. An error: the link is lost, or nothing
    // comes for `patience`.
    [[nodiscard]] Result<CloneMessage> next_clone_message(BootClock::duration patience);
    // The clone is sent: what is appended from here on, or was meanwhile, is the log, from record
    // `first` on.
    void start_log(replay::Seq first);

    // Waits until the Secondary has all records before `next`. An error: the link is lost, or it
    // takes longer than `patience`.
    [[nodiscard]] Result<void> await_received(replay::Seq next, BootClock::duration patience);
    // The Secondary stands, so it answers each message.
    void watch();

    // The vCPU thread's. Waits while as much is queued as may.
    void append(std::vector<replay::ClosedBatch> batches) override;

    // Says goodbye behind all that was appended, and waits until it is on its way or `patience` is
    // over.
    void say_goodbye(ftlink::GoodbyeReason reason, BootClock::duration patience);
    // The link is not used any more.
    void close();

    [[nodiscard]] LinkFigures figures() const;
    // None once it was closed.
    [[nodiscard]] std::vector<PathStatus> paths() const;
    // Why it is lost, if it is.
    [[nodiscard]] std::optional<Error> lost() const;
    // Waits for `patience`, or until the link is lost.
    void wait(BootClock::duration patience);

  private:
    static constexpr std::size_t kMostUnwritten = std::size_t{4} << 20U;
    static constexpr std::chrono::milliseconds kTick{10};

    // All on the loop's thread.
    void start(ftlink::Greeted greeted);
    [[nodiscard]] Result<void> take(const ftlink::Frame& frame);
    void pump();
    void tick();
    [[nodiscard]] std::optional<Error> listen();
    void lose(const Error& why);
    void note_unwritten();
    void offer(std::vector<replay::ClosedBatch> batches);

    IoLoop& loop_;
    ftlink::LinkLimits limits_;
    GateHold& gate_;
    std::function<void()> woken_;
    std::function<bool()> gives_up_;
    Silence silence_;  // Of the link alone.
    SystemClock clock_;

    // The loop's thread's own.
    std::shared_ptr<ftlink::LinkDriver> driver_;
    std::optional<ftlink::SenderFsm> sender_;
    std::vector<replay::ClosedBatch> early_;  // Appended before start_log(),
    std::size_t early_bytes_ = 0;             // and their bytes.
    std::unique_ptr<boost::asio::steady_timer> timer_;
    replay::BatchPacker packer_;
    std::uint64_t log_bytes_ = 0;
    std::uint64_t heard_bytes_ = 0;  // Of what came.
    bool is_watched_ = false;
    bool is_closed_ = false;

    mutable std::mutex mutex_;  // Guards what follows.
    std::condition_variable changed_;
    std::optional<Error> lost_;
    std::vector<CloneMessage> clone_messages_;
    std::size_t unwritten_ = 0;  // With the driver,
    std::size_t posted_ = 0;     // and on the way there.
    std::size_t queued_ = 0;     // Of the log: with the sender,
    std::size_t appended_ = 0;   // and on the way there.
    bool said_goodbye_ = false;
    std::unique_ptr<Beats> beats_;  // Until close().
    LinkFigures figures_;
};

}  // namespace ftvmm::pair
