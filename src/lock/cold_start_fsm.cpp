#include "lock/cold_start_fsm.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ftvmm::lock {

namespace {

// What a reply to Read(owner) says of the file; nothing if it says nothing.
std::optional<std::string> text_of(const Reply& reply) {
    if (const auto* content = std::get_if<reply::Content>(&reply)) return content->text;
    if (std::holds_alternative<reply::Missing>(reply)) return std::string();
    return std::nullopt;
}

}  // namespace

ColdStartFsm::ColdStartFsm(Claim claim, const LeaseTimes& times)
    : claim_(std::move(claim)), times_(times) {
    FTVMM_CHECK(times.check(), "times were checked");
}

std::optional<Request> ColdStartFsm::take_request(Instant now) {
    if (state_ == State::kElecting) return election_->take_request(now);
    if (is_asking_ || now < not_before_) return std::nullopt;
    const auto ask = [this, now](Request request) {
        is_asking_ = true;
        asked_at_ = now;
        return request;
    };
    switch (state_) {
        case State::kLocking:
            return ask(request::TakeLock{});
        case State::kFinding:
            return ask(request::FindNewest{});
        case State::kWatching:
        case State::kChecking:
            return ask(request::Read{owner_record_file(newest_)});
        case State::kElecting:
        case State::kWaiting:
        case State::kOver:
            break;
    }
    return std::nullopt;
}

void ColdStartFsm::step(const Reply& reply, Instant now) {
    if (state_ == State::kElecting) {
        election_->step(reply, now);
        waits_for_ = election_->trouble();
        return end_election(now);
    }
    FTVMM_CHECK(is_asking_, "a reply answers a request");
    is_asking_ = false;
    if (const auto* unknown = std::get_if<reply::Unknown>(&reply)) return retry(unknown->why, now);
    if (state_ == State::kLocking && std::holds_alternative<reply::Taken>(reply)) {
        return retry("another host holds the lock", now);
    }
    if (state_ == State::kLocking && std::holds_alternative<reply::Done>(reply)) {
        state_ = State::kFinding;
    } else if (const auto* newest = std::get_if<reply::Newest>(&reply);
               newest != nullptr && state_ == State::kFinding) {
        newest_ = newest->generation;
        claim_.generation = newest_ + 1;
        state_ = State::kWatching;
    } else if (text_of(reply) && state_ == State::kWatching) {
        watch(reply, now);
    } else if (text_of(reply) && state_ == State::kChecking) {
        check(reply, now);
    } else {
        retry("the storage answers what was not asked", now);
    }
}

void ColdStartFsm::watch(const Reply& reply, Instant now) {
    auto text = text_of(reply);
    if (seen_ != text) {
        // Whoever wrote it began before now, and its lease with it.
        seen_ = std::move(text);
        same_since_ = now;
    }
    const bool never_ran = seen_->empty() && claim_.generation == Generation(1);
    // Counted from when it was asked for: the answer may have been on its way since.
    if (never_ran || has_ended(*seen_) || asked_at_ - same_since_ >= times_.lease) {
        state_ = State::kElecting;
        election_.emplace(claim_);
        election_->contest();
        waits_for_.clear();
        return;
    }
    waits_for_ = "an owner that may live";
    not_before_ =
        std::min(now + times_.lease / kLooksPerLease, std::max(now, same_since_ + times_.lease));
}

// Whether the record is the last word of who owned the newest generation. That of an older one may
// be a write that came late, over the record of an owner that lives.
bool ColdStartFsm::has_ended(const std::string& text) const {
    const auto record = decode_owner_record(text);
    return record && record->ended && record->vm == claim_.vm &&
           record->generation + 1 == claim_.generation;
}

void ColdStartFsm::end_election(Instant now) {
    const auto& outcome = election_->outcome();
    if (!outcome) return;
    if (std::holds_alternative<outcome::Won>(*outcome)) {
        state_ = State::kChecking;
        won_at_ = now;
        not_before_ = now;
    } else {
        state_ = State::kOver;
        outcome_ = outcome;
    }
}

void ColdStartFsm::check(const Reply& reply, Instant now) {
    if (text_of(reply) == seen_) {
        state_ = State::kOver;
        outcome_ = outcome::Won{};
        waits_for_.clear();
        return;
    }
    // An owner lives after all. It finds out by its next renewal; what it has until then is no
    // longer than a lease.
    state_ = State::kWaiting;
    not_before_ = won_at_ + times_.lease;
    waits_for_ = "the lease of an owner that lived";
    tick(now);
}

void ColdStartFsm::tick(Instant now) {
    if (state_ != State::kWaiting || now < not_before_) return;
    state_ = State::kOver;
    outcome_ = outcome::Won{};
    waits_for_.clear();
}

void ColdStartFsm::retry(std::string why, Instant now) {
    waits_for_ = std::move(why);
    not_before_ = now + kRetryAfter;
}

Instant ColdStartFsm::retry_at() const {
    if (state_ == State::kElecting) return election_->retry_at();
    return is_asking_ || state_ == State::kOver ? Instant::max() : not_before_;
}

}  // namespace ftvmm::lock
