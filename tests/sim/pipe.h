// One direction of a connection, as a network and two sockets make it.
#pragma once

#include <cstddef>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace ftvmm::sim {

inline constexpr Instant kNever{BootClock::duration(std::numeric_limits<std::int64_t>::max())};

struct PipeOptions {
    BootClock::duration delay{};
    BootClock::duration jitter{};    // What a piece takes longer, at most.
    std::size_t capacity = 1 << 20;  // Bytes that were written and not read.
    std::size_t most_slice = 0;      // Pieces are at most so long; 0: as they were written.
};

// Bytes arrive in order, in pieces of any size, each after a delay; none is changed. Instants are
// true time.
class Pipe {
  public:
    Pipe(std::uint64_t seed, const PipeOptions& options) : random_(seed), options_(options) {}

    // Takes what there is room for, from the front; the number of bytes that it took.
    std::size_t write(std::span<const std::byte> bytes, Instant now);
    [[nodiscard]] std::size_t room() const;
    // What has arrived and was not read.
    [[nodiscard]] std::vector<std::byte> read(Instant now);
    // When read() gives something; kNever where nothing is under way.
    [[nodiscard]] Instant readable_at() const;

    // Nothing arrives before `end`.
    void stall(Instant end) { stalled_to_ = std::max(stalled_to_, end); }
    // What is under way is lost, all of it or from some byte on. What has arrived can be read.
    void reset(Instant now) { cut(now, 0); }
    void truncate(Instant now) { cut(now, random_.below(bytes_ + 1)); }

    // From `from` on pieces take another time.
    void set_options(const PipeOptions& options) { options_ = options; }

  private:
    struct Piece {
        Instant at;
        std::vector<std::byte> bytes;
    };
    void cut(Instant now, std::size_t keep);

    SeededEntropy random_;
    PipeOptions options_;
    std::deque<Piece> pieces_;
    std::size_t bytes_ = 0;
    Instant stalled_to_{};
    bool is_cut_ = false;
};

}  // namespace ftvmm::sim
