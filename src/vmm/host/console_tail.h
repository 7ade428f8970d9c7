// The last bytes that a guest printed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ftvmm::host {

// Keeps the end of an endless stream, for readers that each have a position in it. One thread.
class ConsoleTail {
  public:
    explicit ConsoleTail(std::size_t capacity) : bytes_(capacity) {}

    void append(std::span<const std::byte> bytes) {
        total_ += bytes.size();
        bytes = bytes.last(std::min(bytes.size(), bytes_.size()));
        for (std::uint64_t at = total_ - bytes.size(); !bytes.empty();) {
            const std::size_t slot = at % bytes_.size();
            const std::size_t count = std::min(bytes.size(), bytes_.size() - slot);
            std::copy_n(bytes.begin(), count, bytes_.begin() + static_cast<std::ptrdiff_t>(slot));
            bytes = bytes.subspan(count);
            at += count;
        }
    }

    // One past the last byte.
    [[nodiscard]] std::uint64_t end() const { return total_; }
    // Where a reader at `position` goes on: there, or at the oldest byte that is left.
    [[nodiscard]] std::uint64_t next(std::uint64_t position) const {
        return std::max(position, total_ - std::min<std::uint64_t>(total_, bytes_.size()));
    }
    // Bytes from `position`, which next() gave; empty only at the end, and maybe not all of them.
    [[nodiscard]] std::span<const std::byte> from(std::uint64_t position) const {
        const std::size_t slot = position % bytes_.size();
        return std::span(bytes_).subspan(
            slot, std::min<std::uint64_t>(total_ - position, bytes_.size() - slot));
    }

  private:
    std::vector<std::byte> bytes_;
    std::uint64_t total_ = 0;
};

}  // namespace ftvmm::host
