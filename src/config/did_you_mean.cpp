#include "config/did_you_mean.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace ftvmm::config {

namespace {

// Levenshtein's distance, row by row.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row.back();
}

}  // namespace

std::optional<std::string_view> did_you_mean(std::string_view word,
                                             std::span<const std::string_view> known) {
    constexpr std::size_t kMaxSlips = 2;
    // Longer words are no slip of any key, and the distance takes the product of both lengths.
    constexpr std::size_t kMaxLength = 32;
    if (word.size() > kMaxLength) return std::nullopt;
    std::optional<std::string_view> nearest;
    std::size_t best = kMaxSlips + 1;
    for (const std::string_view candidate : known) {
        const std::size_t slips = distance(word, candidate);
        if (slips < best && 2 * slips < std::max(word.size(), candidate.size())) {
            best = slips;
            nearest = candidate;
        }
    }
    return nearest;
}

}  // namespace ftvmm::config
