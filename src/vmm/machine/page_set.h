// A set of pages of the guest's memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace ftvmm::machine {

// Pages are numbered from the start of GuestMemory::bytes(); bit n of word m is page 64 m + n, as
// in KVM's log.
class PageSet {
  public:
    // Empty, of a memory of so many pages.
    explicit PageSet(std::uint64_t pages) : pages_(pages), words_((pages + 63) / 64) {}

    void add(std::uint64_t page) { words_.at(page / 64) |= std::uint64_t{1} << (page % 64); }
    void add_all() {
        for (std::uint64_t page = 0; page < pages_; ++page)
            add(page);
    }
    // A word for each of words(), or fewer.
    void add_words(std::span<const std::uint64_t> words) {
        for (std::size_t i = 0; i < words.size(); ++i)
            words_.at(i) |= words[i];
    }
    void add(const PageSet& other) { add_words(other.words_); }
    void clear() { std::ranges::fill(words_, 0); }

    [[nodiscard]] bool has(std::uint64_t page) const {
        return (words_.at(page / 64) >> (page % 64) & 1U) != 0;
    }
    [[nodiscard]] std::uint64_t count() const {
        return std::accumulate(words_.begin(), words_.end(), std::uint64_t{0},
                               [](std::uint64_t sum, std::uint64_t word) {
                                   return sum + static_cast<std::uint64_t>(std::popcount(word));
                               });
    }
    // How many pages the memory has.
    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] std::span<const std::uint64_t> words() const { return words_; }

  private:
    std::uint64_t pages_;
    std::vector<std::uint64_t> words_;
};

}  // namespace ftvmm::machine
