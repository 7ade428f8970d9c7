#include "secondary.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "replay/log_format.h"

namespace ftvmm::sim {

using namespace replay;

Secondary::Secondary(const Plan& plan, Judge& judge, Pipe& log, Pipe& acks)
    : plan_(plan),
      judge_(judge),
      log_(log),
      acks_(acks),
      random_(plan.seed ^ 3U),
      receiver_(Seq(0), plan.secondary_clock.at({}), plan.secondary_limits) {
    promise({});
}

bool Secondary::may_read() const {
    if (lost_link_ || judge_.is_live()) return false;
    return !receiver_.is_full() || plan_.bug == Bug::kDropWhenFull;
}

Instant Secondary::wake() const {
    if (judge_.is_live()) return kNever;
    Instant at = tick_at_;
    if (has_more_) at = std::min(at, replay_at_);
    if (may_read()) at = std::min(at, log_.readable_at());
    if (!outbox_.empty() && acks_.room() > 0 && !lost_link_) at = Instant{};
    const auto patience = plan_.secondary_clock.true_time(plan_.dead_timeout);
    at = std::min(at, std::max(heard_at_, promised_at_) + patience + std::chrono::microseconds(1));
    return std::max(at, paused_to_);
}

void Secondary::run(Instant now) {
    if (now < paused_to_ || judge_.is_live()) return;
    if (plan_.is_hasty) consider_going_live(now);
    write(now);
    read(now);
    replay(now);
    take_frames(now);
    if (tick_at_ <= now) {
        receiver_.tick(plan_.secondary_clock.at(now));
        tick_at_ = receiver_.has_frames() ? kNever : now + plan_.secondary_limits.replay_ack_every;
    }
    write(now);
    consider_going_live(now);
    check_bounds();
}

void Secondary::read(Instant now) {
    if (!may_read()) return;
    const auto bytes = log_.read(now);
    if (plan_.bug == Bug::kEarlyAck)
        undecoded_.insert(undecoded_.end(), bytes.begin(), bytes.end());
    decoder_.feed(bytes);
    take_frames(now);
    if (plan_.bug == Bug::kEarlyAck) ack_early(now);
}

void Secondary::take_frames(Instant now) {
    while (may_read()) {
        auto frame = decoder_.next();
        if (!frame) return judge_.violated(frame.error().line());
        if (!*frame) break;
        const std::size_t size = (*frame)->payload.size();
        if (plan_.bug == Bug::kEarlyAck) {
            undecoded_.erase(
                undecoded_.begin(),
                undecoded_.begin() + static_cast<std::ptrdiff_t>(ftlink::kFrameHeaderBytes + size));
        }
        // The bug: who has no room drops what comes.
        if (receiver_.is_full()) continue;
        const auto taken = receiver_.step(**frame, plan_.secondary_clock.at(now));
        if (!taken) return judge_.violated(taken.error().line());
        heard_at_ = now;
        if ((*frame)->kind == ftlink::FrameKind::kBatch) {
            largest_batch_ = std::max(largest_batch_, size);
        }
        judge_.holds(receiver_.next_received());
        for (Batch& batch : receiver_.take_batches()) {
            const auto fed = replayer_.feed(std::move(batch));
            if (!fed) return judge_.violated(fed.error().line());
            has_more_ = true;
        }
    }
    // Who does not read hears the Primary's beats, which are not part of this.
    if (receiver_.is_full()) heard_at_ = now;
    if (receiver_.goodbye() && !judge_.is_live()) go_live(now);
}

// The bug: a batch is acked when its header has come.
void Secondary::ack_early(Instant now) {
    constexpr std::size_t kHeaders = ftlink::kFrameHeaderBytes + BatchHeader::kBytes;
    if (undecoded_.size() < kHeaders || !outbox_.empty()) return;
    const auto header = BatchHeader::decode(
        std::span(undecoded_).subspan(ftlink::kFrameHeaderBytes).first<BatchHeader::kBytes>());
    if (!header) return;
    ftlink::Ack ack;
    ack.next_received = header->first + header->records;
    ack.next_replayed = receiver_.next_replayed();
    ack.answers = ftlink::MessageNumber(decoder_.frames());
    const auto frame = ftlink::make_frame(ftlink::FrameKind::kAck, encode(ack));
    // Once: what it says of the replay is not to fall.
    if (receiver_.has_frames()) return;
    outbox_.insert(outbox_.end(), frame.header.begin(), frame.header.end());
    outbox_.insert(outbox_.end(), frame.payload.begin(), frame.payload.end());
    promise(now);
}

void Secondary::replay(Instant now) {
    if (!has_more_ || replay_at_ > now) return;
    replay_one();
    const auto takes = static_cast<std::uint64_t>(plan_.replay_takes.count());
    const auto time = std::chrono::nanoseconds(1 + random_.below(2 * takes));
    replay_at_ = now + (now < slow_to_ ? time * 10 : time);
    if (tick_at_ == kNever) tick_at_ = now + plan_.secondary_limits.replay_ack_every;
}

void Secondary::replay_one() {
    auto step = replayer_.step();
    if (!step) return judge_.violated(step.error().line());
    for (const Output& output : replayer_.take_outputs())
        judge_.replayed(replay::testing::hash_of(output));
    if (const auto* on = std::get_if<step::PowersOn>(&*step)) {
        machine_ = std::make_unique<replay::testing::ToyMachine>(on->record.rng_seed, plan_.toy);
        ++lives_;
        replayer_.power_on(*machine_);
    } else if (const auto* diverged = std::get_if<step::Diverged>(&*step)) {
        has_more_ = false;
        return judge_.violated(replay::describe(diverged->divergence));
    }
    if (std::holds_alternative<step::Progress>(*step)) {
        judge_.secondary_at(lives_, machine_->landmark(), machine_->digest());
    }
    has_more_ = replayer_.pending() > 0;
    const auto time = machine_ ? machine_->now() : GuestTime{};
    receiver_.replayed(replayer_.next(), time);
}

void Secondary::write(Instant now) {
    if (lost_link_) return;
    if (outbox_.empty() && receiver_.has_frames()) {
        for (const auto& frame : receiver_.take_frames(plan_.secondary_clock.at(now))) {
            outbox_.insert(outbox_.end(), frame.header.begin(), frame.header.end());
            outbox_.insert(outbox_.end(), frame.payload.begin(), frame.payload.end());
        }
        promise(now);
        if (hold_for_) {
            pause(now + *std::exchange(hold_for_, std::nullopt));
            return;
        }
    }
    const std::size_t written = acks_.write(outbox_, now);
    outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(written));
}

void Secondary::promise(Instant now) {
    promised_at_ = now;
    judge_.promised(now + plan_.secondary_clock.true_time(plan_.dead_timeout));
}

void Secondary::consider_going_live(Instant now) {
    if (judge_.is_live() || now < paused_to_) return;
    const Instant host = plan_.secondary_clock.at(now);
    if (host - receiver_.promised_at() < plan_.dead_timeout) return;
    const Instant heard = plan_.secondary_clock.at(heard_at_);
    if (plan_.is_hasty || host - heard >= plan_.dead_timeout) go_live(now);
}

void Secondary::go_live(Instant now) {
    receiver_.finish();
    judge_.goes_live(now);
    while (has_more_ && !judge_.violation())
        replay_one();
    judge_.takes_over();
}

void Secondary::lose_link(Instant now) {
    if (now < paused_to_) return;
    lost_link_ = true;
    if (plan_.bug == Bug::kLiveOnReset && !judge_.is_live()) go_live(now);
}

void Secondary::check_bounds() const {
    if (receiver_.unreplayed_bytes() > plan_.secondary_limits.unreplayed_bytes + largest_batch_) {
        judge_.violated("the Secondary holds more than it may");
    }
}

}  // namespace ftvmm::sim
