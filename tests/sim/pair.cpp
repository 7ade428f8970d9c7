#include "pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "judge.h"
#include "pipe.h"
#include "primary.h"
#include "secondary.h"

namespace ftvmm::sim {

namespace {

// What a pair whose links and hosts are well may take to come to its end.
constexpr auto kPatience = std::chrono::seconds(20);
// How long a Primary is watched that has lost its Secondary.
constexpr auto kAftermath = std::chrono::milliseconds(300);

class Pair {
  public:
    explicit Pair(const Plan& plan)
        : plan_(plan),
          judge_(plan),
          log_(plan.seed ^ 4U, plan.log_pipe),
          acks_(plan.seed ^ 5U, plan.ack_pipe),
          primary_(plan, judge_, log_, acks_),
          secondary_(plan, judge_, log_, acks_) {}

    Verdict run() {
        Instant now{};
        while (!judge_.violation() && !is_over(now)) {
            now = std::max(now, next_wake());
            while (next_fault_ < plan_.faults.size() && plan_.faults[next_fault_].at <= now)
                happen(plan_.faults[next_fault_++], now);
            if (lost_at_) learn(now);
            primary_.run(now);
            secondary_.run(now);
            if (now > plan_.healed_at + kPatience) judge_.violated("it comes to no end");
        }
        if (outcome_ == Outcome::kDrained && !judge_.violation()) compare_ends();
        return {judge_.violation(), outcome_, judge_.released_outputs(), primary_.stalls()};
    }

  private:
    [[nodiscard]] Instant next_wake() const {
        Instant at = std::min(primary_.wake(), secondary_.wake());
        if (next_fault_ < plan_.faults.size()) at = std::min(at, plan_.faults[next_fault_].at);
        if (lost_at_) {
            if (!primary_.has_lost_link()) at = std::min(at, primary_learns_);
            if (!secondary_.has_lost_link()) at = std::min(at, secondary_learns_);
        }
        return at;
    }

    void happen(const Fault& fault, Instant now) {
        switch (fault.kind) {
            case FaultKind::kPausePrimary:
                return primary_.pause(now + fault.lasts);
            case FaultKind::kPauseSecondary:
                return secondary_.pause(now + fault.lasts);
            case FaultKind::kHoldAnswer:
                return secondary_.hold_answer(fault.lasts);
            case FaultKind::kStallLog:
                return log_.stall(now + fault.lasts);
            case FaultKind::kStallAcks:
                return acks_.stall(now + fault.lasts);
            case FaultKind::kSlowSecondary:
                return secondary_.be_slow(now + fault.lasts);
            case FaultKind::kHandOver:
                return primary_.hand_over(now);
            case FaultKind::kReset:
            case FaultKind::kTruncateLog:
            case FaultKind::kTruncateAcks:
                return lose(fault, now);
        }
    }

    void lose(const Fault& fault, Instant now) {
        if (lost_at_) return;
        lost_at_ = now;
        primary_learns_ = now + fault.primary_learns;
        secondary_learns_ = now + fault.secondary_learns;
        if (fault.kind == FaultKind::kTruncateLog) {
            log_.truncate(now);
        } else {
            log_.reset(now);
        }
        if (fault.kind == FaultKind::kTruncateAcks) {
            acks_.truncate(now);
        } else {
            acks_.reset(now);
        }
    }

    // A host that stands still learns it later.
    void learn(Instant now) {
        constexpr auto kAgain = std::chrono::microseconds(100);
        if (!primary_.has_lost_link() && primary_learns_ <= now) {
            primary_.lose_link(now);
            primary_learns_ = now + kAgain;
        }
        if (!secondary_.has_lost_link() && secondary_learns_ <= now) {
            secondary_.lose_link(now);
            secondary_learns_ = now + kAgain;
        }
    }

    [[nodiscard]] bool is_over(Instant now) {
        if (judge_.is_live()) {
            outcome_ = primary_.has_handed_over() ? Outcome::kHandedOver : Outcome::kTookOver;
            return now >= std::max(judge_.live_at(), plan_.healed_at) + kAftermath;
        }
        if (lost_at_) {
            outcome_ = Outcome::kTookOver;
            // Long enough for the Secondary to be sure.
            if (now < std::max(*lost_at_, plan_.healed_at) + kAftermath) return false;
            judge_.violated("the connection is gone, and the Secondary does not go live");
            return true;
        }
        outcome_ = Outcome::kDrained;
        return primary_.is_drained() && judge_.waiting() == 0;
    }

    void compare_ends() {
        if (primary_.guest().memory_hash() != secondary_.memory_hash()) {
            judge_.violated("both guests came to the end, with another memory each");
        }
    }

    const Plan& plan_;
    Judge judge_;
    Pipe log_;
    Pipe acks_;
    Primary primary_;
    Secondary secondary_;
    std::size_t next_fault_ = 0;
    std::optional<Instant> lost_at_;
    Instant primary_learns_{};
    Instant secondary_learns_{};
    Outcome outcome_ = Outcome::kDrained;
};

}  // namespace

Verdict run_pair(const Plan& plan) {
    return Pair(plan).run();
}

}  // namespace ftvmm::sim
