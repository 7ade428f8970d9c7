#include "node/range_order.h"

#include <algorithm>

#include "base/check.h"

namespace ftvmm::node {

namespace {

bool races(const DiskRange& a, const DiskRange& b) {
    if (!a.changes && !b.changes) return false;
    // Differences, because a sum could pass the end of the numbers.
    return a.offset <= b.offset ? b.length > 0 && b.offset - a.offset < a.length
                                : a.length > 0 && a.offset - b.offset < b.length;
}

}  // namespace

bool RangeOrder::is_free(const DiskRange& range, std::size_t count) const {
    return std::none_of(requests_.begin(), requests_.begin() + static_cast<std::ptrdiff_t>(count),
                        [&](const Request& earlier) { return races(earlier.range, range); });
}

bool RangeOrder::add(std::uint64_t id, const DiskRange& range) {
    const bool runs = is_free(range, requests_.size());
    requests_.push_back(Request{id, range, runs});
    if (!runs) ++held_;
    return runs;
}

std::vector<std::uint64_t> RangeOrder::end(std::uint64_t id) {
    const auto ended = std::ranges::find_if(
        requests_, [&](const Request& request) { return request.id == id && request.runs; });
    FTVMM_CHECK(ended != requests_.end(), "a disk request that ends was running");
    requests_.erase(ended);
    std::vector<std::uint64_t> freed;
    if (held_ == 0) return freed;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
        Request& request = requests_[i];
        if (request.runs || !is_free(request.range, i)) continue;
        request.runs = true;
        --held_;
        freed.push_back(request.id);
    }
    return freed;
}

}  // namespace ftvmm::node
