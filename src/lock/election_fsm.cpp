#include "lock/election_fsm.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace ftvmm::lock {

ElectionFsm::ElectionFsm(Claim mine, std::optional<Nonce> behind)
    : mine_(std::move(mine)),
      behind_(behind),
      state_(behind ? State::kChecking : State::kEnrolling) {}

std::optional<Request> ElectionFsm::take_request(Instant now) {
    if (state_ == State::kReady && is_contested_) state_ = State::kLinking;
    if (is_asking_ || now < not_before_) return std::nullopt;
    const auto ask = [this](Request request) {
        is_asking_ = true;
        return request;
    };
    const std::string name = generation_file(mine_.generation);
    switch (state_) {
        case State::kChecking:
            return ask(request::Read{generation_file(before())});
        case State::kEnrolling:
            return ask(request::WriteOwn{claim_file(mine_), encode_claim(mine_)});
        case State::kLinking:
            return ask(request::Link{claim_file(mine_), name});
        case State::kReading:
            return ask(request::Read{name});
        case State::kReady:
        case State::kOver:
            break;
    }
    return std::nullopt;
}

void ElectionFsm::step(const Reply& reply, Instant now) {
    FTVMM_CHECK(is_asking_, "a reply answers a request");
    is_asking_ = false;
    if (const auto* unknown = std::get_if<reply::Unknown>(&reply)) return retry(unknown->why, now);
    if (state_ == State::kChecking) return check(reply, now);
    const bool is_done = std::holds_alternative<reply::Done>(reply);
    if (state_ == State::kEnrolling && is_done) {
        state_ = State::kReady;
    } else if (state_ == State::kLinking && is_done) {
        outcome_ = outcome::Won{};
        state_ = State::kOver;
    } else if (state_ == State::kLinking && std::holds_alternative<reply::Taken>(reply)) {
        state_ = State::kReading;
    } else if (const auto* content = std::get_if<reply::Content>(&reply);
               content != nullptr && state_ == State::kReading) {
        judge(content->text, now);
    } else if (state_ == State::kReading && std::holds_alternative<reply::Missing>(reply)) {
        // A file that was there a moment ago: the storage contradicts itself.
        state_ = State::kLinking;
        retry(fmt::format("{} is taken and missing", generation_file(mine_.generation)), now);
    } else {
        retry("the storage answers what was not asked", now);
    }
}

std::optional<Claim> ElectionFsm::read(Generation generation, const std::string& text,
                                       Instant now) {
    auto owner = decode_claim(text);
    if (owner && owner->vm == mine_.vm && owner->generation == generation) return *owner;
    const std::string what = owner ? "it is of another VM or generation" : owner.error().what();
    retry(fmt::format("{} is damaged: {}", generation_file(generation), what), now);
    return std::nullopt;
}

void ElectionFsm::check(const Reply& reply, Instant now) {
    const auto elsewhere = [this](std::string_view what) {
        outcome_ =
            outcome::Elsewhere{fmt::format("the shared folder here is not the Primary's: {} is {}",
                                           generation_file(before()), what)};
        state_ = State::kOver;
    };
    if (std::holds_alternative<reply::Missing>(reply)) return elsewhere("missing");
    const auto* content = std::get_if<reply::Content>(&reply);
    if (content == nullptr) return retry("the storage answers what was not asked", now);
    const auto owner = read(before(), content->text, now);
    if (!owner) return;
    if (owner->nonce != *behind_) return elsewhere("another run's");
    state_ = State::kEnrolling;
}

void ElectionFsm::judge(const std::string& text, Instant now) {
    auto owner = read(mine_.generation, text, now);
    if (!owner) return;
    state_ = State::kOver;
    if (owner->nonce == mine_.nonce) {
        outcome_ = outcome::Won{};
    } else {
        outcome_ = outcome::Lost{std::move(*owner)};
    }
}

void ElectionFsm::retry(std::string why, Instant now) {
    trouble_ = std::move(why);
    not_before_ = now + kRetryAfter;
}

Instant ElectionFsm::retry_at() const {
    const bool waits = state_ == State::kOver || (state_ == State::kReady && !is_contested_);
    return is_asking_ || waits ? Instant::max() : not_before_;
}

}  // namespace ftvmm::lock
