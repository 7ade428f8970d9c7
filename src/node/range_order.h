// Which requests to one disk may be under way at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ftvmm::node {

// The bytes that a request touches; an empty range, as a flush has, touches none.
struct DiskRange {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool changes = false;
};

// Requests that overlap, one of them changing what the other touches, race: what a read finds then
// depends on the disk. Here they run one after the other, in the order in which they were added,
// so that the result is a function of that order. All others run at once. Pure.
//
//   held -> running    all earlier requests that it races with have ended
//   running -> gone    end()
class RangeOrder {
  public:
    // `id` is not among the requests held or running. True: it runs.
    [[nodiscard]] bool add(std::uint64_t id, const DiskRange& range);
    // `id`, which runs, has ended. Those that run from now on, oldest first.
    [[nodiscard]] std::vector<std::uint64_t> end(std::uint64_t id);
    [[nodiscard]] std::size_t size() const { return requests_.size(); }

  private:
    struct Request {
        std::uint64_t id = 0;
        DiskRange range;
        bool runs = false;
    };
    // Whether the first `count` requests let one of `range` run.
    [[nodiscard]] bool is_free(const DiskRange& range, std::size_t count) const;

    std::vector<Request> requests_;  // Oldest first; a disk has a few hundred at most.
    std::size_t held_ = 0;
};

}  // namespace ftvmm::node
