#include "pair/primary_link.h"

#include <numeric>
#include <utility>

namespace ftvmm::pair {

using ftlink::Frame;
using ftlink::FrameKind;

PrimaryLink::PrimaryLink(IoLoop& loop, ftlink::Greeted greeted, const ftlink::LinkLimits& limits,
                         std::unique_ptr<Beats> beats, BootClock::duration dead_after,
                         GateHold& gate, std::function<void()> woken,
                         std::function<bool()> gives_up)
    : loop_(loop),
      limits_(limits),
      gate_(gate),
      woken_(std::move(woken)),
      gives_up_(std::move(gives_up)),
      silence_(kStuckAfterDeaths * dead_after),
      beats_(std::move(beats)) {
    loop_.run([&] { start(std::move(greeted)); });
}

PrimaryLink::~PrimaryLink() {
    close();
}

void PrimaryLink::start(ftlink::Greeted greeted) {
    driver_ = ftlink::LinkDriver::start(
        std::move(greeted), {.may_take = [] { return true; },
                             .take = [this](const Frame& frame) { return take(frame); },
                             .turn = [this] { pump(); },
                             .lost = [this](const ftlink::LinkLost& lost) { lose(lost.why); }});
    timer_ = std::make_unique<boost::asio::steady_timer>(loop_.io());
    driver_->resume();
    tick();
}

Result<void> PrimaryLink::take(const Frame& frame) {
    if (frame.kind == FrameKind::kCloneControl) {
        FTVMM_ASSIGN(auto message, decode_clone_message(frame.payload));
        constexpr std::size_t kMostMessages = 4;
        const std::lock_guard guard(mutex_);
        if (clone_messages_.size() == kMostMessages) {
            return fail("the Secondary says more of its clone than there is to say");
        }
        clone_messages_.push_back(std::move(message));
        changed_.notify_all();
        return {};
    }
    if (!sender_) return fail("the Secondary speaks before its clone is whole");
    FTVMM_TRY(sender_->step(frame, clock_.now()));
    gate_.acked(sender_->next_received(), sender_->answered_sent_at());
    return {};
}

void PrimaryLink::pump() {
    if (!driver_) return;
    if (sender_) {
        while (sender_->has_frames() &&
               driver_->unwritten_bytes() < ftlink::SenderFsm::kMostFrameBytes) {
            for (ftlink::OutgoingFrame& frame : sender_->take_frames(clock_.now())) {
                log_bytes_ += frame.size();
                driver_->send(std::move(frame));
            }
        }
        driver_->flush();
    }
    note_unwritten();
}

void PrimaryLink::note_unwritten() {
    const std::lock_guard guard(mutex_);
    unwritten_ = driver_ ? driver_->unwritten_bytes() : 0;
    if (sender_) {
        queued_ = sender_->queued_bytes();
        figures_ = {sender_->next_received(),
                    sender_->next_replayed(),
                    sender_->lag(clock_.now()),
                    sender_->throttle().duty_percent(),
                    log_bytes_,
                    queued_,
                    sender_->verdict() == ftlink::Verdict::kDiverged,
                    sender_->goodbye().has_value()};
    } else {
        queued_ = early_bytes_;
    }
    changed_.notify_all();
}

void PrimaryLink::tick() {
    if (is_closed_ || !driver_) return;
    if (sender_) {
        const std::uint32_t before = sender_->throttle().duty_percent();
        sender_->tick(clock_.now());
        pump();
        if (before != sender_->throttle().duty_percent()) woken_();
    }
    if (const auto why = listen()) {
        if (driver_) driver_->close();
        return lose(*why);
    }
    timer_->expires_after(kTick);
    timer_->async_wait([this](const boost::system::error_code& error) {
        if (!error) tick();
    });
}

// Why the Secondary is lost although its connection stands.
std::optional<Error> PrimaryLink::listen() {
    if (!driver_) return std::nullopt;
    const std::uint64_t bytes = driver_->received_bytes();
    // Who takes a clone in has nothing to say.
    if (std::exchange(heard_bytes_, bytes) != bytes || !is_watched_) beats_->link_heard();
    if (!is_watched_) return std::nullopt;
    const bool is_stuck = silence_.look(bytes, clock_.now());
    if (auto lost = beats_->lost()) return lost;
    if (is_stuck) return Error("its host beats, and nothing comes on the link");
    return std::nullopt;
}

void PrimaryLink::lose(const Error& why) {
    driver_.reset();
    {
        const std::lock_guard guard(mutex_);
        if (!lost_) lost_ = why;
        unwritten_ = posted_ = queued_ = appended_ = 0;
    }
    changed_.notify_all();
    woken_();
}

Result<void> PrimaryLink::send(ftlink::OutgoingFrame frame) {
    const std::size_t size = frame.size();
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return lost_ || unwritten_ + posted_ < kMostUnwritten; });
        if (lost_) return Failure(*lost_);
        posted_ += size;
    }
    const auto shared = std::make_shared<ftlink::OutgoingFrame>(std::move(frame));
    loop_.post([this, shared, size] {
        if (!driver_) return;
        driver_->send(std::move(*shared));
        driver_->flush();
        {
            const std::lock_guard guard(mutex_);
            posted_ -= size;
        }
        note_unwritten();
    });
    return {};
}

Result<CloneMessage> PrimaryLink::next_clone_message(BootClock::duration patience) {
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, patience, [this] { return lost_ || !clone_messages_.empty(); });
    if (!clone_messages_.empty()) {
        CloneMessage message = std::move(clone_messages_.front());
        clone_messages_.erase(clone_messages_.begin());
        return message;
    }
    if (lost_) return Failure(*lost_);
    return fail("the Secondary does not say what became of its clone");
}

void PrimaryLink::start_log(replay::Seq first) {
    loop_.run([&] {
        if (!driver_) return;
        sender_.emplace(first, clock_.now(), limits_);
        offer(std::exchange(early_, {}));
    });
}

Result<void> PrimaryLink::await_received(replay::Seq next, BootClock::duration patience) {
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, patience,
                            [&] { return lost_ || figures_.next_received >= next; });
    if (lost_) return Failure(*lost_);
    if (figures_.next_received < next) return fail("the Secondary does not take the log");
    return {};
}

void PrimaryLink::watch() {
    loop_.run([this] { is_watched_ = true; });
}

void PrimaryLink::append(std::vector<replay::ClosedBatch> batches) {
    if (batches.empty()) return;
    const std::size_t size = std::accumulate(
        batches.begin(), batches.end(), std::size_t{0},
        [](std::size_t sum, const replay::ClosedBatch& batch) { return sum + batch.bytes.size(); });
    {
        constexpr std::chrono::milliseconds kLookEvery{50};
        const auto has_room = [this] {
            return lost_ || queued_ + appended_ < limits_.queued_bytes;
        };
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, kLookEvery, has_room)) {
            // What the Secondary lacks it never gets.
            if (gives_up_()) lost_ = Error("the VM's power ended while the Secondary took nothing");
        }
        if (lost_) return;
        appended_ += size;
    }
    const auto shared = std::make_shared<std::vector<replay::ClosedBatch>>(std::move(batches));
    loop_.post([this, shared, size] {
        offer(std::move(*shared));
        {
            const std::lock_guard guard(mutex_);
            appended_ = appended_ < size ? 0 : appended_ - size;
        }
        pump();
    });
}

void PrimaryLink::offer(std::vector<replay::ClosedBatch> batches) {
    for (replay::ClosedBatch& batch : batches) {
        if (!sender_) {
            early_bytes_ += batch.bytes.size();
            early_.push_back(std::move(batch));
            continue;
        }
        batch.bytes = packer_.pack(std::move(batch.bytes));
        sender_->offer(std::move(batch), clock_.now());
    }
}

void PrimaryLink::say_goodbye(ftlink::GoodbyeReason reason, BootClock::duration patience) {
    loop_.post([this, reason] {
        if (!driver_ || !sender_) return;
        sender_->say_goodbye(reason);
        pump();
        const std::lock_guard guard(mutex_);
        said_goodbye_ = true;
    });
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, patience, [this] {
        return lost_ || (said_goodbye_ && unwritten_ == 0 && queued_ == 0);
    });
}

void PrimaryLink::close() {
    loop_.run([this] {
        is_closed_ = true;
        if (timer_) timer_->cancel();
        if (driver_) driver_->close();
        lose(Error("the link was closed"));
        std::unique_ptr<Beats> beats;
        const std::lock_guard guard(mutex_);
        beats.swap(beats_);
        // A timer's handler that was on its way has found is_closed_.
    });
    loop_.run([] {});
}

LinkFigures PrimaryLink::figures() const {
    const std::lock_guard guard(mutex_);
    return figures_;
}

std::vector<PathStatus> PrimaryLink::paths() const {
    const std::lock_guard guard(mutex_);
    return beats_ ? beats_->paths() : std::vector<PathStatus>();
}

std::optional<Error> PrimaryLink::lost() const {
    const std::lock_guard guard(mutex_);
    return lost_;
}

void PrimaryLink::wait(BootClock::duration patience) {
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, patience, [this] { return lost_.has_value(); });
}

}  // namespace ftvmm::pair
