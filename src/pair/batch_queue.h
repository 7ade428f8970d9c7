// From the link to the Secondary's vCPU thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "replay/record.h"

namespace ftvmm::pair {

// The link's thread puts in, the vCPU thread takes out. How much may be in it is for the link to
// bound: what was taken and not replayed counts there too.
class BatchQueue {
  public:
    void push(std::vector<replay::Batch> batches);
    // Nothing comes any more: what is in it can still be taken.
    void close();

    // The oldest; waits for one. Nothing: it is closed, and empty.
    [[nodiscard]] std::optional<replay::Batch> take();

  private:
    std::mutex mutex_;  // Guards what follows.
    std::condition_variable changed_;
    std::deque<replay::Batch> batches_;
    bool is_closed_ = false;
};

}  // namespace ftvmm::pair
