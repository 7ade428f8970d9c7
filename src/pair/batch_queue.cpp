#include "pair/batch_queue.h"

#include <utility>

namespace ftvmm::pair {

void BatchQueue::push(std::vector<replay::Batch> batches) {
    {
        const std::lock_guard guard(mutex_);
        for (replay::Batch& batch : batches)
            batches_.push_back(std::move(batch));
    }
    changed_.notify_one();
}

void BatchQueue::close() {
    {
        const std::lock_guard guard(mutex_);
        is_closed_ = true;
    }
    changed_.notify_one();
}

std::optional<replay::Batch> BatchQueue::take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_closed_ || !batches_.empty(); });
    if (batches_.empty()) return std::nullopt;
    std::optional<replay::Batch> batch(std::move(batches_.front()));
    batches_.pop_front();
    return batch;
}

}  // namespace ftvmm::pair
