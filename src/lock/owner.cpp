#include "lock/owner.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ftvmm::lock {

Owner::Owner(OwnerIdentity identity, const LeaseTimes& times, Entropy& entropy)
    : identity_(std::move(identity)), times_(times), entropy_(entropy) {
    FTVMM_CHECK(times.check(), "times were checked");
}

void Owner::start_cold() {
    FTVMM_CHECK(!lease_ && !cold_start_ && !is_ending_, "who starts a VM owns nothing of it");
    // For a generation that is yet to be found.
    cold_start_.emplace(new_claim(Generation(1)), times_);
    asked(Asker::kColdStart) = 0;
    outcome_.reset();
    superseded_by_.reset();
}

void Owner::stop_cold_start() {
    cold_start_.reset();
}

void Owner::bid(Generation next, const Nonce& behind) {
    FTVMM_CHECK(!lease_ && !is_ending_, "an owner has its bid");
    outcome_.reset();
    superseded_by_.reset();
    enrol(next, behind);
}

Result<bool> Owner::bid_stands() const {
    if (!election_) return false;
    const auto& outcome = election_->outcome();
    const auto* elsewhere = outcome ? std::get_if<outcome::Elsewhere>(&*outcome) : nullptr;
    if (elsewhere != nullptr) {
        return fail(elsewhere->why, "mount the same storage on both hosts, under the same path");
    }
    return election_->is_enrolled();
}

void Owner::contest() {
    FTVMM_CHECK(election_, "who contests has a bid");
    is_contested_ = true;
    election_->contest();
    settle();
}

void Owner::end() {
    is_ending_ = true;
    generation_ = Generation();
    cold_start_.reset();
    election_.reset();
    if (lease_) lease_->end();
}

Claim Owner::new_claim(Generation generation) {
    return {.vm = identity_.vm,
            .generation = generation,
            .nonce = random_nonce(entropy_),
            .host = identity_.host,
            .boot_id = identity_.boot_id};
}

void Owner::enrol(Generation generation, std::optional<Nonce> behind) {
    election_.emplace(new_claim(generation), behind);
    asked(Asker::kElection) = 0;
    is_contested_ = false;
}

bool Owner::wants_lock() const {
    return generation_ != Generation() && !has_lock_;
}

std::optional<Request> Owner::take_request_of(Asker asker, Instant now) {
    if (asker == Asker::kColdStart && cold_start_) return cold_start_->take_request(now);
    if (asker == Asker::kElection && election_) return election_->take_request(now);
    if (asker == Asker::kLease && lease_) return lease_->take_request(now);
    if (asker == Asker::kLock && wants_lock() && now >= lock_at_ && asked(asker) == 0) {
        return request::TakeLock{};
    }
    return std::nullopt;
}

std::optional<Owner::Asked> Owner::take_request(Instant now) {
    if (cold_start_) {
        cold_start_->tick(now);
        settle();
    }
    std::optional<Asked> taken;
    // An election first: a VM stands still for it.
    for (const Asker asker : {Asker::kElection, Asker::kLease, Asker::kColdStart, Asker::kLock}) {
        auto request = take_request_of(asker, now);
        if (!request) continue;
        asked(asker) = ++last_id_;
        taken.emplace();
        taken->id = last_id_;
        taken->request = std::move(*request);
        break;
    }
    return taken;
}

void Owner::step(std::uint64_t id, const Reply& reply, Instant now) {
    const auto found = std::ranges::find(asked_, id);
    if (id == 0 || found == asked_.end()) return;
    *found = 0;
    switch (static_cast<Asker>(found - asked_.begin())) {
        case Asker::kColdStart:
            if (cold_start_) cold_start_->step(reply, now);
            break;
        case Asker::kElection:
            if (election_) election_->step(reply, now);
            break;
        case Asker::kLease:
            if (lease_) lease_->step(reply, now);
            break;
        case Asker::kLock:
            has_lock_ = has_lock_ || std::holds_alternative<reply::Done>(reply);
            lock_at_ = now + kLockEvery;
            break;
    }
    settle();
}

void Owner::settle() {
    if (lease_ && lease_->superseded_by()) {
        const Claim by = *lease_->superseded_by();
        lose(by);
    }
    if (cold_start_ && cold_start_->outcome()) {
        outcome_ = cold_start_->outcome();
        const Claim mine = cold_start_->mine();
        cold_start_.reset();
        if (const auto* lost = std::get_if<outcome::Lost>(&*outcome_)) return lose(lost->owner);
        has_lock_ = true;
        return own(mine);
    }
    if (!election_ || !election_->outcome()) return;
    // That bid stays, so that who contests with it hears of it.
    const bool is_elsewhere = std::holds_alternative<outcome::Elsewhere>(*election_->outcome());
    if (is_elsewhere && !is_contested_) return;
    outcome_ = election_->outcome();
    if (is_elsewhere) return;
    const Claim mine = election_->mine();
    election_.reset();
    is_contested_ = false;
    if (const auto* lost = std::get_if<outcome::Lost>(&*outcome_)) return lose(lost->owner);
    own(mine);
}

void Owner::own(const Claim& claim) {
    generation_ = claim.generation;
    nonce_ = claim.nonce;
    enrol(claim.generation + 1);
    const Nonce& next = election_->mine().nonce;
    if (lease_) return lease_->advance(next);
    const OwnerRecord record{.vm = claim.vm, .generation = claim.generation, .nonce = claim.nonce};
    lease_.emplace(record, next, times_);
    asked(Asker::kLease) = 0;
}

// A bid stays, so that who contests with it hears that it lost.
void Owner::lose(const Claim& to) {
    generation_ = Generation();
    lease_.reset();
    superseded_by_ = to;
}

std::optional<Outcome> Owner::take_outcome() {
    return std::exchange(outcome_, std::nullopt);
}

Instant Owner::holds_until() const {
    return lease_ ? lease_->holds_until() : Instant::min();
}

Instant Owner::retry_at() const {
    Instant next = Instant::max();
    if (cold_start_) next = std::min(next, cold_start_->retry_at());
    if (election_) next = std::min(next, election_->retry_at());
    if (lease_) next = std::min(next, lease_->retry_at());
    const bool asks_lock = asked_.at(static_cast<std::size_t>(Asker::kLock)) != 0;
    if (wants_lock() && !asks_lock) next = std::min(next, lock_at_);
    return next;
}

std::string Owner::trouble() const {
    if (lease_ && !lease_->trouble().empty()) return lease_->trouble();
    const bool is_slow = election_ && (is_contested_ || !election_->is_enrolled());
    return is_slow ? election_->trouble() : std::string();
}

std::string Owner::waits_for() const {
    return cold_start_ ? cold_start_->waits_for() : std::string();
}

}  // namespace ftvmm::lock
