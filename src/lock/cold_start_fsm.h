// Whether a VM that nobody seems to run may be started here. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "lock/election_fsm.h"
#include "lock/lease_fsm.h"

namespace ftvmm::lock {

// Takes the lock, sees the owner's record unchanged for the lease time, takes the next generation,
// and sees that the record is still the same; if it is not, lets the lease of whoever wrote it end.
// Who started still needs a lease of its own (LeaseFsm) before anything leaves.
//
// state     asks for        reply                                      next
// locking   TakeLock        Done                                       finding
// finding   FindNewest      Newest                                     watching
// watching  Read(owner-g)    another record than before, or the first   watching for the lease time
//                           the same for the lease time, or none       electing
//                           was there and there is no generation, or
//                           it says that the newest generation ended
// electing  an ElectionFsm  lost                                       lost
//                           won                                        checking
// checking  Read(owner-g)    the same                                   may start
//                           another                                    waiting for the lease time
// waiting   nothing         the time is over                           may start
//
// All else is asked again after kRetryAfter. One request at a time; each is answered in the end.
// One thread.
class ColdStartFsm {
  public:
    static constexpr std::chrono::milliseconds kRetryAfter{200};
    // How often the record is looked at, of a lease: an owner that lives is noticed early.
    static constexpr int kLooksPerLease = 10;

    // `claim` is this run's, for a generation that is yet to be found.
    ColdStartFsm(Claim claim, const LeaseTimes& times);

    [[nodiscard]] std::optional<Request> take_request(Instant now);
    void step(const Reply& reply, Instant now);
    // Time passes while nothing is asked: call at retry_at().
    void tick(Instant now);

    // Won: the VM may be started in mine().generation. Lost: somebody else starts it.
    [[nodiscard]] const std::optional<Outcome>& outcome() const { return outcome_; }
    [[nodiscard]] const Claim& mine() const { return claim_; }
    [[nodiscard]] Instant retry_at() const;
    // For people: what it waits for. "another host holds the lock", or empty.
    [[nodiscard]] const std::string& waits_for() const { return waits_for_; }

  private:
    enum class State : std::uint8_t {
        kLocking,
        kFinding,
        kWatching,
        kElecting,
        kChecking,
        kWaiting,
        kOver
    };

    void watch(const Reply& reply, Instant now);
    [[nodiscard]] bool has_ended(const std::string& text) const;
    void check(const Reply& reply, Instant now);
    void end_election(Instant now);
    void retry(std::string why, Instant now);

    Claim claim_;
    LeaseTimes times_;
    Generation newest_;  // Whose owner's record it looks at.
    State state_ = State::kLocking;
    bool is_asking_ = false;
    Instant asked_at_;
    Instant not_before_ = Instant::min();
    // What the record's file holds, and since when: nothing before the first look, an empty text
    // where there is no file.
    std::optional<std::string> seen_;
    Instant same_since_;
    std::optional<ElectionFsm> election_;
    Instant won_at_;
    std::optional<Outcome> outcome_;
    std::string waits_for_;
};

}  // namespace ftvmm::lock
