// All that one process is to its VM: who starts it, who bids for it, who holds it. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "lock/cold_start_fsm.h"
#include "lock/election_fsm.h"
#include "lock/lease_fsm.h"

namespace ftvmm::lock {

// What is written about this process.
struct OwnerIdentity {
    VmUuid vm{};
    std::string host;
    std::string boot_id;
};

// Runs the machines of a process and joins them: who wins a generation holds it by a lease from
// then on, with a fresh claim for the next one, and takes the lock. Their requests are asked each
// for itself. One thread at a time.
class Owner {
  public:
    // Who won without the lock asks for it that often, until it is had: who had it before may be a
    // host that died, for which the server keeps it for some time.
    static constexpr std::chrono::milliseconds kLockEvery{1000};

    struct Asked {
        std::uint64_t id = 0;
        Request request;
    };

    // `entropy` outlives it.
    Owner(OwnerIdentity identity, const LeaseTimes& times, Entropy& entropy);

    // Owning nothing.
    void start_cold();
    void stop_cold_start();
    // Owning nothing: enrols a fresh claim, in place of any before, and forgets what became of
    // that. `behind`: as of an ElectionFsm.
    void bid(Generation next, const Nonce& behind);
    [[nodiscard]] bool has_bid() const { return election_.has_value(); }
    // Of the bid: true once the storage keeps its claim; an error where it never will, as this is
    // not the storage of who is bid against.
    [[nodiscard]] Result<bool> bid_stands() const;
    // With a bid: what comes of it is an outcome in the end.
    void contest();
    // As of a LeaseFsm.
    void end();
    [[nodiscard]] bool has_ended() const { return !lease_ || lease_->has_ended(); }

    // What to ask for at `now`, until there is nothing more. Each is answered in the end.
    [[nodiscard]] std::optional<Asked> take_request(Instant now);
    // An answer that nobody waits for any more is let go.
    void step(std::uint64_t id, const Reply& reply, Instant now);
    // When there is something to ask for, if nothing else happens; Instant::max(): never.
    [[nodiscard]] Instant retry_at() const;

    [[nodiscard]] bool has_outcome() const { return outcome_.has_value(); }
    // Of a cold start or a contest, once.
    [[nodiscard]] std::optional<Outcome> take_outcome();
    // What is owned; 0 is none. And what tells the claim that won it.
    [[nodiscard]] Generation generation() const { return generation_; }
    [[nodiscard]] const Nonce& nonce() const { return nonce_; }
    // As of a LeaseFsm.
    [[nodiscard]] Instant holds_until() const;
    // Who took the generation behind the one that was owned, or the one that was contested; until
    // the next bid.
    [[nodiscard]] const std::optional<Claim>& superseded_by() const { return superseded_by_; }
    [[nodiscard]] bool has_lock() const { return has_lock_; }
    // Why the storage does not do what is wanted, or empty.
    [[nodiscard]] std::string trouble() const;
    // As of a ColdStartFsm.
    [[nodiscard]] std::string waits_for() const;

  private:
    enum class Asker : std::uint8_t { kColdStart, kElection, kLease, kLock };
    static constexpr std::size_t kAskers = 4;

    [[nodiscard]] std::optional<Request> take_request_of(Asker asker, Instant now);
    [[nodiscard]] std::uint64_t& asked(Asker asker) {
        return asked_.at(static_cast<std::size_t>(asker));
    }
    [[nodiscard]] bool wants_lock() const;
    [[nodiscard]] Claim new_claim(Generation generation);
    void enrol(Generation generation, std::optional<Nonce> behind = std::nullopt);
    void settle();
    void own(const Claim& claim);
    void lose(const Claim& to);

    OwnerIdentity identity_;
    LeaseTimes times_;
    Entropy& entropy_;
    std::optional<ColdStartFsm> cold_start_;
    std::optional<ElectionFsm> election_;
    std::optional<LeaseFsm> lease_;
    Generation generation_;
    Nonce nonce_{};
    std::optional<Outcome> outcome_;
    std::optional<Claim> superseded_by_;
    bool is_contested_ = false;
    bool is_ending_ = false;
    bool has_lock_ = false;
    Instant lock_at_ = Instant::min();            // When it is asked for next.
    std::array<std::uint64_t, kAskers> asked_{};  // What each waits for; 0 is nothing.
    std::uint64_t last_id_ = 0;
};

}  // namespace ftvmm::lock
