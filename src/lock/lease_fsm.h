// How long the owner of a generation may act on its own, as storage says. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "lock/generation.h"
#include "lock/storage.h"

namespace ftvmm::lock {

struct LeaseTimes {
    std::chrono::milliseconds lease{30'000};  // The same on all hosts.
    std::chrono::milliseconds margin{3'000};  // For clocks that go at different rates.
    std::chrono::milliseconds renew{5'000};   // From one renewal to the next.

    bool operator==(const LeaseTimes&) const = default;
    // The times of such a lease, in the proportions of the usual one.
    [[nodiscard]] static LeaseTimes of(std::chrono::milliseconds lease) {
        return {.lease = lease, .margin = lease / 10, .renew = lease / 6};
    }
    // Why these can not be used.
    [[nodiscard]] Result<void> check() const;
};

// Renews the owner's record and says until when that counts. A renewal is two steps, in this order:
// write the record of the newest generation that is owned, then see that nobody has the one behind
// it. A cold start elsewhere takes that, then sees whether the record is as it was. So whatever is
// slow or late, one of the two sees the other. A renewal counts from before its write began.
//
// state    at a reply                                        next
// writing  Done                                              looking
// looking  Missing                                           waiting, renewed
// looking  a claim with the owner's own nonce                waiting, to begin again at once with
//                                                            the record of that generation
// looking  another's claim                                   superseded, for ever
// either   anything else                                     waiting, to begin again after
//                                                            kRetryAfter
//
// After end() all of these lead to one last write, of a record that says so:
// ending   Done                                              ended, for ever
// ending   anything else                                     again after kRetryAfter
//
// One request at a time; each is answered in the end. One thread.
class LeaseFsm {
  public:
    static constexpr std::chrono::milliseconds kRetryAfter{200};

    // `own_next` is the nonce of the claim that this run holds for the next generation: to own that
    // too is no loss, but then it is the one behind it that others take.
    LeaseFsm(const OwnerRecord& first, const Nonce& own_next, const LeaseTimes& times);

    [[nodiscard]] std::optional<Request> take_request(Instant now);
    void step(const Reply& reply, Instant now);
    // This run has won the next generation, and holds a claim for the one behind it. What was
    // renewed stays so.
    void advance(const Nonce& own_next);
    // The VM has shut down and all that it put out has left: nothing is held any more, and the
    // record says so, so that nobody has to wait for this run. Who was superseded writes nothing.
    void end();
    // The record says it. Until then a start elsewhere waits, which is all that is lost.
    [[nodiscard]] bool has_ended() const { return state_ == State::kEnded; }

    // Until then, and not at that moment, outputs may leave; Instant::min(): not yet, or never
    // again.
    [[nodiscard]] Instant holds_until() const { return holds_until_; }
    // Who owns the next generation: this side halts.
    [[nodiscard]] const std::optional<Claim>& superseded_by() const { return superseded_by_; }
    // When there is something to ask for; Instant::max(): not before a reply, or never.
    [[nodiscard]] Instant retry_at() const;
    // Why the last renewal did not count, or empty.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }

  private:
    enum class State : std::uint8_t { kWaiting, kWriting, kLooking, kSuperseded, kEnding, kEnded };

    [[nodiscard]] Generation owned() const;
    void look_at(const Reply& reply, Instant now);
    void renewed();
    void begin_anew();
    void retry(std::string why, Instant now);
    [[nodiscard]] bool is_over() const {
        return state_ == State::kSuperseded || state_ == State::kEnded;
    }

    OwnerRecord record_;
    Nonce own_next_;
    LeaseTimes times_;
    State state_ = State::kWaiting;
    bool is_asking_ = false;
    bool owns_next_ = false;  // By its claim, which is linked though nobody was told yet.
    bool is_stale_ = false;   // What is asked is of the generation before advance().
    bool is_ending_ = false;
    Instant next_at_ = Instant::min();
    Instant began_at_;  // Of the renewal under way.
    Instant holds_until_ = Instant::min();
    std::optional<Claim> superseded_by_;
    std::string trouble_;
};

}  // namespace ftvmm::lock
