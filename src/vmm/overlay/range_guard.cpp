#include "vmm/overlay/range_guard.h"

#include <algorithm>

#include "base/check.h"

namespace ftvmm::overlay {

RangeGuard::Hold RangeGuard::use(const Range& range) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !moved_ || !moved_->overlaps(range); });
    used_.push_back(range);
    return {*this, std::prev(used_.end())};
}

RangeGuard::Hold RangeGuard::move(const Range& range) {
    std::unique_lock lock(mutex_);
    FTVMM_CHECK(!moved_, "one moves at a time");
    // From here on nobody comes into it.
    moved_ = range;
    changed_.wait(lock, [&] {
        return std::ranges::none_of(used_, [&](const Range& used) { return used.overlaps(range); });
    });
    return {*this, std::nullopt};
}

void RangeGuard::release(Hold::At at) {
    {
        const std::lock_guard lock(mutex_);
        if (at) {
            used_.erase(*at);
        } else {
            moved_.reset();
        }
    }
    changed_.notify_all();
}

}  // namespace ftvmm::overlay
