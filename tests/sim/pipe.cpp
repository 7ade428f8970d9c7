#include "pipe.h"

#include <algorithm>
#include <utility>

namespace ftvmm::sim {

std::size_t Pipe::room() const {
    if (is_cut_) return std::numeric_limits<std::size_t>::max();
    return options_.capacity - std::min(options_.capacity, bytes_);
}

std::size_t Pipe::write(std::span<const std::byte> bytes, Instant now) {
    // Who writes to a connection that is gone does not learn it from that.
    if (is_cut_) return bytes.size();
    const std::size_t taken = std::min(bytes.size(), room());
    bytes = bytes.first(taken);
    while (!bytes.empty()) {
        std::size_t size = bytes.size();
        if (options_.most_slice != 0) {
            size = std::min<std::size_t>(size, 1 + random_.below(options_.most_slice));
        }
        Instant at = now + options_.delay;
        if (options_.jitter.count() != 0) {
            at += std::chrono::nanoseconds(
                random_.below(static_cast<std::uint64_t>(options_.jitter.count())));
        }
        if (!pieces_.empty()) at = std::max(at, pieces_.back().at);
        pieces_.push_back({at, {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}});
        bytes = bytes.subspan(size);
    }
    bytes_ += taken;
    return taken;
}

std::vector<std::byte> Pipe::read(Instant now) {
    std::vector<std::byte> read;
    if (now < stalled_to_) return read;
    while (!pieces_.empty() && pieces_.front().at <= now) {
        const auto& bytes = pieces_.front().bytes;
        read.insert(read.end(), bytes.begin(), bytes.end());
        pieces_.pop_front();
    }
    bytes_ -= read.size();
    return read;
}

Instant Pipe::readable_at() const {
    if (pieces_.empty()) return kNever;
    return std::max(pieces_.front().at, stalled_to_);
}

void Pipe::cut(Instant now, std::size_t keep) {
    is_cut_ = true;
    bytes_ = 0;
    for (Piece& piece : pieces_) {
        const bool has_arrived = piece.at <= now && now >= stalled_to_;
        if (!has_arrived) {
            piece.bytes.resize(std::min(piece.bytes.size(), keep));
            keep -= piece.bytes.size();
        }
        bytes_ += piece.bytes.size();
    }
    std::erase_if(pieces_, [](const Piece& piece) { return piece.bytes.empty(); });
}

}  // namespace ftvmm::sim
