// A Secondary's link to its Primary.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "base/vm_identity.h"
#include "ftlink/link_driver.h"
#include "ftlink/meeting_driver.h"
#include "ftlink/receiver_fsm.h"
#include "pair/batch_queue.h"
#include "pair/beats.h"
#include "pair/clone_target.h"
#include "pair/clone_wire.h"
#include "pair/io_loop.h"
#include "pair/silence.h"

namespace ftvmm::pair {

// First it takes a clone in; behind follow() the log, which goes to the queue and is acked as it
// comes. Any thread but for what says otherwise. Once it is lost it stays so.
class SecondaryLink {
  public:
    // Once `stops` is true it says goodbye and ends. That and `loop` outlive it.
    // Once the pair is protected a Primary is lost that `beats` take for lost, or whose link is
    // silent for kStuckAfterDeaths times `dead_after` although it beats; zero: only its connection
    // tells.
    SecondaryLink(IoLoop& loop, ftlink::Greeted greeted, const ftlink::LinkLimits& limits,
                  std::unique_ptr<Beats> beats, BootClock::duration dead_after, CloneTarget target,
                  const std::atomic<bool>& stops);
    SecondaryLink(const SecondaryLink&) = delete;
    SecondaryLink& operator=(const SecondaryLink&) = delete;
    ~SecondaryLink();

    // Waits for a whole clone; `tell` is called now and then with how far it has come. An error:
    // the link is lost, or it stops.
    [[nodiscard]] Result<CloneTarget> take_clone(
        const std::function<void(const CloneTarget&)>& tell);
    // The machine can not be made. Waits a moment for the Primary to have read that.
    void fail_clone(const Error& why);
    // The machine stands, and the log's first record is `first`.
    void follow(replay::Seq first);
    // Behind follow(): this host may take over from here on. Called on the loop's thread, which it
    // may not hold up.
    void on_protected(std::function<void(const clone_message::Protected&)> call) {
        protected_ = std::move(call);
    }
    // On that thread, in answer to it, once: whether this host can. An error is the last word.
    void answer_protection(const Result<void>& bid);
    // Behind follow(): how far the log came, and the guest with it; every few ms. As of the above.
    void on_progress(std::function<void(replay::Seq received, replay::Seq replayed)> call) {
        progress_ = std::move(call);
    }
    // Which ways to the Primary work, ten times a second, as long as there is a link. As of the
    // above.
    void on_paths(std::function<void(std::vector<PathStatus>)> call);
    // What comes of the log; closed once nothing comes any more.
    [[nodiscard]] BatchQueue& queue() { return queue_; }

    // The vCPU thread's: every record before `next` is done, and the guest's clock shows `time`.
    void replayed(replay::Seq next, GuestTime time);
    // The guest does not do what the log says.
    void diverged();
    // It follows no further, and will never go live.
    void leave();

    // Why the link is lost, if it is, and since when; and how the Primary left, if it said.
    [[nodiscard]] std::optional<Error> lost() const;
    [[nodiscard]] Instant lost_at() const;
    [[nodiscard]] std::optional<ftlink::GoodbyeReason> goodbye() const;
    // The Primary's kernel ended the connection: its host lives, whatever became of its process.
    [[nodiscard]] bool host_answers() const;
    // It beats, though the link may be lost.
    [[nodiscard]] bool is_primary_heard() const { return beats_->is_peer_heard(); }
    // In which generation the pair is protected, if it came to that.
    [[nodiscard]] std::optional<Generation> protected_in() const;
    // When the last promise not to go live was made; behind lost(), none is made any more.
    [[nodiscard]] std::optional<Instant> promised_at() const;
    void close();

  private:
    static constexpr std::chrono::milliseconds kTick{5};
    static constexpr int kTicksPerTelling = 20;

    // All on the loop's thread.
    void start(ftlink::Greeted greeted);
    [[nodiscard]] bool may_take() const;
    void await_close();
    [[nodiscard]] Result<void> take(const ftlink::Frame& frame);
    [[nodiscard]] Result<void> take_protection(const ftlink::Frame& frame);
    void pump();
    void tick();
    [[nodiscard]] std::optional<Error> listen();
    void answer_part();
    void note_replayed();
    void say_goodbye();
    void say_all();
    void lose(const Error& why, bool host_answers);

    IoLoop& loop_;
    ftlink::LinkLimits limits_;
    std::unique_ptr<Beats> beats_;
    Silence silence_;  // Of the link alone.
    const std::atomic<bool>& stops_;
    SystemClock clock_;
    BatchQueue queue_;

    // The loop's thread's own.
    std::shared_ptr<ftlink::LinkDriver> driver_;
    std::optional<CloneTarget> target_;
    std::optional<ftlink::ReceiverFsm> receiver_;
    std::function<void(const clone_message::Protected&)> protected_;
    std::function<void(replay::Seq received, replay::Seq replayed)> progress_;
    std::function<void(std::vector<PathStatus>)> paths_;
    int ticks_ = 0;
    std::uint64_t heard_bytes_ = 0;     // Of what came.
    std::uint64_t answered_bytes_ = 0;  // That had come when the last ack was made.
    std::unique_ptr<boost::asio::steady_timer> timer_;
    bool is_closed_ = false;
    bool is_refused_ = false;    // The clone is: what comes is nobody's.
    bool has_left_ = false;      // Said goodbye.
    bool has_said_all_ = false;  // Nothing may go out any more.

    std::atomic<bool> replayed_is_posted_{false};

    mutable std::mutex mutex_;  // Guards what follows.
    std::condition_variable changed_;
    std::optional<Error> lost_;
    Instant lost_at_;
    bool host_answers_ = false;
    std::optional<ftlink::GoodbyeReason> goodbye_;
    std::optional<Generation> protected_in_;
    std::optional<Instant> promised_at_;
    bool is_whole_ = false;
    replay::Seq replayed_next_;
    GuestTime replayed_time_{};
};

}  // namespace ftvmm::pair
