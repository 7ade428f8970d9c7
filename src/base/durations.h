// How long something took, each time that it did, as a distribution.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ftvmm {

// Of any number of values in little memory: a percentile is at most an eighth too high. Pure.
class Durations {
  public:
    using Duration = std::chrono::nanoseconds;

    void add(Duration value) {
        const auto us = static_cast<std::uint64_t>(
            std::max<Duration::rep>(value / std::chrono::microseconds(1), 0));
        ++counts_.at(bucket_of(us));
        ++count_;
        sum_ += value;
        most_ = std::max(most_, value);
    }

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] Duration sum() const { return sum_; }
    [[nodiscard]] Duration most() const { return most_; }
    // What `percent` of the values do not exceed.
    [[nodiscard]] Duration percentile(unsigned percent) const {
        const std::uint64_t wanted = (count_ * percent + 99) / 100;
        std::uint64_t seen = 0;
        // The last bucket has no end.
        for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
            seen += counts_.at(i);
            if (seen >= wanted) return std::min(end_of(i), most_);
        }
        return most_;
    }

  private:
    // The microseconds 0 to 7 have a bucket each, each power of two behind them 8.
    static constexpr std::size_t kPerOctave = 8;
    static constexpr std::size_t kBuckets = kPerOctave * 40;

    static std::size_t bucket_of(std::uint64_t us) {
        if (us < kPerOctave) return us;
        const auto octave = static_cast<std::size_t>(std::bit_width(us)) - 4;
        return std::min(kBuckets - 1, kPerOctave * (octave + 1) + (us >> octave) - kPerOctave);
    }
    static Duration end_of(std::size_t bucket) {
        if (bucket < kPerOctave) return std::chrono::microseconds(bucket + 1);
        const std::size_t octave = bucket / kPerOctave - 1;
        return std::chrono::microseconds((bucket % kPerOctave + kPerOctave + 1) << octave);
    }

    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t count_ = 0;
    Duration sum_{};
    Duration most_{};
};

}  // namespace ftvmm
