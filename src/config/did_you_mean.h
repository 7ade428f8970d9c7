// Guesses what a misspelt word was meant to be.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace ftvmm::config {

// The word of `known` that is nearest to `word`, where that is near enough to be a slip: no more
// than two letters added, lost or changed, and fewer than half of them.
[[nodiscard]] std::optional<std::string_view> did_you_mean(std::string_view word,
                                                           std::span<const std::string_view> known);

}  // namespace ftvmm::config
