#include "pair/secondary_link.h"

#include <utility>

namespace ftvmm::pair {

using ftlink::Frame;

SecondaryLink::SecondaryLink(IoLoop& loop, ftlink::Greeted greeted,
                             const ftlink::LinkLimits& limits, std::unique_ptr<Beats> beats,
                             BootClock::duration dead_after, CloneTarget target,
                             const std::atomic<bool>& stops)
    : loop_(loop),
      limits_(limits),
      beats_(std::move(beats)),
      silence_(kStuckAfterDeaths * dead_after),
      stops_(stops),
      target_(std::move(target)) {
    loop_.run([&] { start(std::move(greeted)); });
}

SecondaryLink::~SecondaryLink() {
    close();
}

void SecondaryLink::start(ftlink::Greeted greeted) {
    driver_ = ftlink::LinkDriver::start(
        std::move(greeted),
        {.may_take = [this] { return may_take(); },
         .take = [this](const Frame& frame) { return take(frame); },
         .turn = [this] { pump(); },
         .lost = [this](const ftlink::LinkLost& lost) { lose(lost.why, lost.host_answers); }});
    timer_ = std::make_unique<boost::asio::steady_timer>(loop_.io());
    driver_->resume();
    tick();
}

// Between a whole clone and the machine that is made of it, what comes is the log, for which there
// is nobody yet.
bool SecondaryLink::may_take() const {
    if (receiver_) return !receiver_->is_full();
    return is_refused_ || (target_ && !target_->is_whole());
}

Result<void> SecondaryLink::take(const Frame& frame) {
    if (is_refused_) return {};
    if (receiver_ && frame.kind == ftlink::FrameKind::kCloneControl) return take_protection(frame);
    if (receiver_) return receiver_->step(frame, clock_.now());
    FTVMM_TRY(target_->step(frame));
    if (!target_->is_whole()) return {};
    {
        const std::lock_guard guard(mutex_);
        is_whole_ = true;
    }
    changed_.notify_all();
    return {};
}

// The clone's last word comes behind the beginning of the log.
Result<void> SecondaryLink::take_protection(const Frame& frame) {
    FTVMM_ASSIGN(const auto message, decode_clone_message(frame.payload));
    const auto* protection = std::get_if<clone_message::Protected>(&message);
    const auto before = protected_in();
    if (protection == nullptr || before) return fail("the clone goes on behind its end");
    {
        const std::lock_guard guard(mutex_);
        protected_in_ = protection->generation;
    }
    if (protected_) protected_(*protection);
    return {};
}

void SecondaryLink::answer_protection(const Result<void>& bid) {
    if (!driver_ || has_said_all_) return;
    using namespace clone_message;
    driver_->send(
        make_frame(bid ? CloneMessage(Bids{}) : CloneMessage(Failed{bid.error().line()})));
    driver_->flush();
    if (!bid) say_all();
}

void SecondaryLink::pump() {
    if (!driver_ || !receiver_) return;
    if (receiver_->has_frames() && !has_said_all_) {
        for (ftlink::OutgoingFrame& frame : receiver_->take_frames(clock_.now()))
            driver_->send(std::move(frame));
        driver_->flush();
    }
    if (auto batches = receiver_->take_batches(); !batches.empty()) queue_.push(std::move(batches));
    if (receiver_->goodbye()) {
        const std::lock_guard guard(mutex_);
        goodbye_ = receiver_->goodbye();
    }
}

void SecondaryLink::tick() {
    if (is_closed_ || !driver_) return;
    if (stops_ && !has_left_) {
        say_goodbye();
        queue_.close();
    }
    if (receiver_) {
        note_replayed();
        receiver_->tick(clock_.now());
        answer_part();
        pump();
        if (progress_) progress_(receiver_->next_received(), receiver_->next_replayed());
    }
    if (paths_ && ticks_++ % kTicksPerTelling == 0) paths_(beats_->paths());
    if (const auto why = listen()) {
        if (driver_) driver_->close();
        return lose(*why, false);
    }
    timer_->expires_after(kTick);
    timer_->async_wait([this](const boost::system::error_code& error) {
        if (!error) tick();
    });
}

// Why the Primary is lost although its connection stands.
std::optional<Error> SecondaryLink::listen() {
    if (!driver_) return std::nullopt;
    const std::uint64_t bytes = driver_->received_bytes();
    const bool is_watched = protected_in().has_value();
    // A host that has no room reads nothing; nor need who sends a clone always speak.
    const bool hears = std::exchange(heard_bytes_, bytes) != bytes;
    if (hears || driver_->is_paused() || !is_watched) beats_->link_heard();
    if (driver_->is_paused()) silence_.restart();
    if (!is_watched) return std::nullopt;
    const bool is_stuck = silence_.look(bytes, clock_.now());
    if (auto lost = beats_->lost()) return lost;
    if (is_stuck) return Error("its host beats, and nothing comes on the link");
    return std::nullopt;
}

// Who sends a long message hears that it arrives, and by that of a host that lives.
void SecondaryLink::answer_part() {
    constexpr std::chrono::milliseconds kAnswerEvery{50};
    if (!driver_) return;
    const std::uint64_t bytes = driver_->received_bytes();
    // So does who waits until there is room for what it sends.
    const bool lives = bytes != answered_bytes_ || driver_->is_paused();
    if (!lives || clock_.now() - receiver_->promised_at() < kAnswerEvery) return;
    answered_bytes_ = bytes;
    receiver_->answer_again();
}

void SecondaryLink::note_replayed() {
    replay::Seq next;
    GuestTime time;
    {
        const std::lock_guard guard(mutex_);
        next = replayed_next_;
        time = replayed_time_;
    }
    if (next > receiver_->next_replayed()) receiver_->replayed(next, time);
    if (driver_->is_paused() && may_take()) driver_->resume();
}

void SecondaryLink::lose(const Error& why, bool host_answers) {
    // What came before the end counts.
    pump();
    driver_.reset();
    if (receiver_) receiver_->finish();
    {
        const std::lock_guard guard(mutex_);
        if (!lost_) {
            lost_ = why;
            lost_at_ = clock_.now();
            host_answers_ = host_answers;
        }
        if (receiver_) promised_at_ = receiver_->promised_at();
    }
    if (host_answers) beats_->link_refused();
    beats_->goes_live();
    changed_.notify_all();
    queue_.close();
}

void SecondaryLink::on_paths(std::function<void(std::vector<PathStatus>)> call) {
    loop_.run([&] { paths_ = std::move(call); });
}

void SecondaryLink::say_goodbye() {
    if (!driver_ || std::exchange(has_left_, true)) return;
    if (receiver_) receiver_->say_goodbye(ftlink::GoodbyeReason::kHandsOver);
    say_all();
}

// What there is to say goes out, and then nothing.
void SecondaryLink::say_all() {
    pump();
    if (!std::exchange(has_said_all_, true)) driver_->finish_writing();
}

Result<CloneTarget> SecondaryLink::take_clone(const std::function<void(const CloneTarget&)>& tell) {
    constexpr std::chrono::milliseconds kLookEvery{200};
    while (true) {
        {
            std::unique_lock lock(mutex_);
            (void)changed_.wait_for(lock, kLookEvery, [this] { return lost_ || is_whole_; });
            if (is_whole_) break;
            if (lost_) return Failure(*lost_);
        }
        if (stops_) return fail("nobody waits for the clone any more");
        loop_.run([&] { tell(*target_); });
    }
    std::optional<CloneTarget> target;
    loop_.run([&] { target.emplace(std::move(*std::exchange(target_, std::nullopt))); });
    return std::move(*target);
}

void SecondaryLink::fail_clone(const Error& why) {
    loop_.run([&] {
        if (!driver_) return;
        if (!has_said_all_) {
            driver_->send(make_frame(CloneMessage(clone_message::Failed{why.line()})));
            driver_->flush();
            say_all();
        }
        // The end of the link lies behind the log that the Primary has sent meanwhile.
        is_refused_ = true;
        driver_->resume();
    });
    await_close();
}

// The Primary closes the link once it has read the last word.
void SecondaryLink::await_close() {
    constexpr std::chrono::seconds kPatience{1};
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, kPatience, [this] { return lost_.has_value(); });
}

void SecondaryLink::follow(replay::Seq first) {
    loop_.run([&] {
        if (!driver_ || has_said_all_) return;
        {
            const std::lock_guard guard(mutex_);
            replayed_next_ = first;
        }
        receiver_.emplace(first, clock_.now(), limits_);
        driver_->send(make_frame(CloneMessage(clone_message::Stands{})));
        driver_->flush();
        driver_->resume();
    });
}

void SecondaryLink::replayed(replay::Seq next, GuestTime time) {
    {
        const std::lock_guard guard(mutex_);
        replayed_next_ = next;
        replayed_time_ = time;
    }
    if (replayed_is_posted_.exchange(true)) return;
    loop_.post([this] {
        replayed_is_posted_ = false;
        if (!driver_ || !receiver_) return;
        note_replayed();
        pump();
    });
}

void SecondaryLink::diverged() {
    loop_.run([this] {
        if (!driver_ || !receiver_) return;
        receiver_->diverged();
        say_all();
    });
    await_close();
}

void SecondaryLink::leave() {
    loop_.run([this] { say_goodbye(); });
    await_close();
}

std::optional<Error> SecondaryLink::lost() const {
    const std::lock_guard guard(mutex_);
    return lost_;
}

Instant SecondaryLink::lost_at() const {
    const std::lock_guard guard(mutex_);
    return lost_at_;
}

std::optional<ftlink::GoodbyeReason> SecondaryLink::goodbye() const {
    const std::lock_guard guard(mutex_);
    return goodbye_;
}

bool SecondaryLink::host_answers() const {
    const std::lock_guard guard(mutex_);
    return host_answers_;
}

std::optional<Generation> SecondaryLink::protected_in() const {
    const std::lock_guard guard(mutex_);
    return protected_in_;
}

std::optional<Instant> SecondaryLink::promised_at() const {
    const std::lock_guard guard(mutex_);
    return promised_at_;
}

void SecondaryLink::close() {
    loop_.run([this] {
        is_closed_ = true;
        if (timer_) timer_->cancel();
        if (driver_) driver_->close();
        lose(Error("the link was closed"), false);
    });
    loop_.run([] {});
}

}  // namespace ftvmm::pair
