// How far a host has come that keeps a Secondary, for people.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/vm_identity.h"
#include "pair/beats.h"
#include "replay/record.h"

namespace ftvmm::pair {

struct SecondaryStatus {
    enum class Step : std::uint8_t {
        kSeeks,      // Its Primary.
        kClones,     // The VM comes over.
        kProtected,  // It is in lockstep; where storage decides, it takes over from here on.
        kContests,   // The Primary is lost: the storage is asked who goes on.
    };
    Step step = Step::kSeeks;
    std::string primary;  // Its host, if there is one.
    std::string trouble;  // While it seeks: why the last try came to nothing.
    // Of the clone: the round, from 1, how many pages are in it, and how many came in all rounds.
    std::uint32_t round = 0;
    std::uint64_t round_pages = 0;
    std::uint64_t pages = 0;
    Generation protected_in;  // 0: it is not, or no storage decides.
    // Of the log.
    replay::Seq next_received;
    replay::Seq next_replayed;
    std::vector<PathStatus> paths;  // To the Primary's host.
};
// "needs a Primary".
[[nodiscard]] const char* name_of(SecondaryStatus::Step step);

// Who follows changes it, who is asked looks. Any thread.
class SecondaryObserver {
  public:
    // `act` is given the status, and may not wait.
    template <class Act>
    void change(Act&& act) {
        const std::lock_guard guard(mutex_);
        std::forward<Act>(act)(status_);
    }
    [[nodiscard]] SecondaryStatus status() const {
        const std::lock_guard guard(mutex_);
        return status_;
    }

  private:
    mutable std::mutex mutex_;  // Guards what follows.
    SecondaryStatus status_;
};

}  // namespace ftvmm::pair
