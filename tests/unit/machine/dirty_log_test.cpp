#include "vmm/machine/dirty_log.h"

#include <catch2/catch.hpp>

namespace ftvmm::machine {
namespace {

TEST_CASE("What is cleared begins and ends with a dirty page, and a long gap is left out") {
    std::vector<std::uint64_t> words(3 * kLongestGapWords);
    CHECK(ranges_to_clear(words).empty());
    words[5] = 1;
    CHECK(ranges_to_clear(words) == std::vector<WordRange>{{5, 6}});
    words[5 + kLongestGapWords] = 1;  // One word less lies between them.
    CHECK(ranges_to_clear(words) == std::vector<WordRange>{{5, 6 + kLongestGapWords}});
    words.back() = 1;
    CHECK(ranges_to_clear(words) ==
          std::vector<WordRange>{{5, 6 + kLongestGapWords}, {words.size() - 1, words.size()}});
}

}  // namespace
}  // namespace ftvmm::machine
