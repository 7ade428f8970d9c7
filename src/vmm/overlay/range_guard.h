// Keeps those who use a range of a disk out of the way of the one who moves it.
#pragma once

#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>

#include "vmm/overlay/sector_map.h"

namespace ftvmm::overlay {

// Users share what they use; a mover has its range alone: it waits for those who use any of it, and
// who comes after it waits until it is done. There is one mover at a time. Any thread.
class RangeGuard {
  public:
    class Hold {
      public:
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        ~Hold() { guard_.release(at_); }

      private:
        friend class RangeGuard;
        using At = std::optional<std::list<Range>::iterator>;
        Hold(RangeGuard& guard, At at) : guard_(guard), at_(at) {}

        RangeGuard& guard_;
        At at_;  // None: the mover's.
    };

    // As long as what it returns lives; it lives shorter than this.
    [[nodiscard]] Hold use(const Range& range);
    [[nodiscard]] Hold move(const Range& range);

  private:
    void release(Hold::At at);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Range> used_;
    std::optional<Range> moved_;
};

}  // namespace ftvmm::overlay
