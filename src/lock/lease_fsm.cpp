#include "lock/lease_fsm.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace ftvmm::lock {

Result<void> LeaseTimes::check() const {
    // A renewal that fails and the one after it must both fit.
    if (margin.count() <= 0 || renew.count() <= 0 || 3 * renew > lease - margin) {
        return fail(fmt::format("a lease of {} ms with a margin of {} ms can not be renewed every "
                                "{} ms",
                                lease.count(), margin.count(), renew.count()),
                    "renew it three times or more within the lease less the margin");
    }
    return {};
}

LeaseFsm::LeaseFsm(const OwnerRecord& first, const Nonce& own_next, const LeaseTimes& times)
    : record_(first), own_next_(own_next), times_(times) {
    FTVMM_CHECK(times.check(), "times were checked");
}

std::optional<Request> LeaseFsm::take_request(Instant now) {
    if (is_asking_ || is_over()) return std::nullopt;
    if (state_ == State::kLooking) {
        is_asking_ = true;
        return request::Read{generation_file(owned() + 1)};
    }
    if (now < next_at_) return std::nullopt;
    is_asking_ = true;
    state_ = is_ending_ ? State::kEnding : State::kWriting;
    began_at_ = now;
    ++record_.beat;
    OwnerRecord record = record_;
    record.generation = owned();
    record.ended = is_ending_;
    return request::WriteRecord{owner_record_file(record.generation), encode_owner_record(record)};
}

void LeaseFsm::step(const Reply& reply, Instant now) {
    FTVMM_CHECK(is_asking_, "a reply answers a request");
    is_asking_ = false;
    const bool is_done = std::holds_alternative<reply::Done>(reply);
    if (is_ending_ && state_ != State::kEnding) return begin_anew();
    if (is_ending_ && is_done) {
        state_ = State::kEnded;
        return;
    }
    if (const auto* unknown = std::get_if<reply::Unknown>(&reply)) {
        is_stale_ = false;
        return retry(unknown->why, now);
    }
    if (std::exchange(is_stale_, false)) return begin_anew();
    if (state_ == State::kLooking) return look_at(reply, now);
    if (!is_done) {
        return retry("the storage answers what was not asked", now);
    }
    state_ = State::kLooking;
}

void LeaseFsm::end() {
    if (is_ending_ || is_over()) return;
    is_ending_ = true;
    holds_until_ = Instant::min();
    // A write under way is waited for: it must not replace the last one.
    if (!is_asking_) begin_anew();
}

void LeaseFsm::begin_anew() {
    state_ = State::kWaiting;
    next_at_ = Instant::min();
}

void LeaseFsm::advance(const Nonce& own_next) {
    FTVMM_CHECK(!is_ending_, "who has ended takes no generation");
    record_.generation = record_.generation + 1;
    own_next_ = own_next;
    // A renewal under way is of the record that those look at who know of no newer generation.
    if (!std::exchange(owns_next_, false)) {
        is_stale_ = is_asking_;
        if (state_ == State::kLooking && !is_asking_) begin_anew();
    }
}

Generation LeaseFsm::owned() const {
    return record_.generation + (owns_next_ ? 1 : 0);
}

void LeaseFsm::look_at(const Reply& reply, Instant now) {
    if (std::holds_alternative<reply::Missing>(reply)) return renewed();
    const auto* content = std::get_if<reply::Content>(&reply);
    if (content == nullptr) return retry("the storage answers what was not asked", now);
    auto claim = decode_claim(content->text);
    if (!claim) {
        // Somebody's, and unreadable: nothing may leave on it.
        return retry(
            fmt::format("{} is damaged: {}", generation_file(owned() + 1), claim.error().what()),
            now);
    }
    if (claim->nonce == own_next_ && !owns_next_) {
        // Whoever starts the VM looks at that one's record from now on.
        owns_next_ = true;
        return begin_anew();
    }
    superseded_by_ = std::move(*claim);
    holds_until_ = Instant::min();
    state_ = State::kSuperseded;
}

void LeaseFsm::renewed() {
    state_ = State::kWaiting;
    holds_until_ = began_at_ + times_.lease - times_.margin;
    next_at_ = began_at_ + times_.renew;
    trouble_.clear();
}

void LeaseFsm::retry(std::string why, Instant now) {
    state_ = State::kWaiting;
    trouble_ = std::move(why);
    next_at_ = now + kRetryAfter;
}

Instant LeaseFsm::retry_at() const {
    if (is_asking_ || is_over()) return Instant::max();
    return state_ == State::kLooking ? Instant::min() : next_at_;
}

}  // namespace ftvmm::lock
