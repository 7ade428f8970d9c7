// A checkpoint as bytes: docs/checkpoint-format.md. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "replay/log_bytes.h"
#include "vmm/machine/cpu_state.h"
#include "vmm/memory/gpa.h"

namespace ftvmm::machine {

// Of a page, lines travel that say something: a processor's cache lines, so that a word has a bit
// for each.
inline constexpr std::size_t kLineBytes = 64;
static_assert(kPageBytes == 64 * kLineBytes);

// Bit n: line n of `page` has a byte that is not zero.
[[nodiscard]] std::uint64_t lines_not_zero(std::span<const std::byte, kPageBytes> page);
// Bit n: line n of the two differs.
[[nodiscard]] std::uint64_t lines_that_differ(std::span<const std::byte, kPageBytes> one,
                                              std::span<const std::byte, kPageBytes> other);

// Makes these lines of `to` those of `from`.
void copy_lines(std::uint64_t lines, std::span<const std::byte, kPageBytes> from,
                std::span<std::byte, kPageBytes> to);

// Lines of one page. Pages are numbered from the start of GuestMemory::bytes(), as in a state file:
// the hole below 4 GiB has no numbers.
struct PageLines {
    std::uint64_t page = 0;
    std::uint64_t lines = 0;          // Bit n: line n is in `data`.
    std::span<const std::byte> data;  // One line after another.

    // Puts the lines where they belong.
    void store(std::span<std::byte, kPageBytes> target) const;
};

// What a checkpoint says. Views of the bytes that it was read from.
struct Checkpoint {
    struct WholePage {
        PageLines content;  // The other lines are zero.
        bool becomes_hot = false;
    };
    // How many checkpoints came before it, in a row in which each builds on the one before.
    std::uint64_t number = 0;
    CpuState cpu;
    std::vector<WholePage> whole;  // In ascending order, as is the next.
    // Against the page's shadow; one without lines is hot no longer. A hot page that is not here is
    // as its shadow.
    std::vector<PageLines> hot;
};

// Collects a checkpoint: whole pages, end_pages(), hot pages, end_pages(), take(). Pages are added
// in ascending order.
class CheckpointEncoder {
  public:
    CheckpointEncoder(std::uint64_t number, const CpuState& cpu);

    // So many bytes of pages are about to come.
    void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
    void add_whole(std::uint64_t page, std::span<const std::byte, kPageBytes> bytes,
                   bool becomes_hot);
    // `lines` of `bytes`.
    void add_hot(std::uint64_t page, std::span<const std::byte, kPageBytes> bytes,
                 std::uint64_t lines);
    void end_pages();

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::vector<std::byte> take() { return bytes_.take(); }

  private:
    void add_lines(std::uint64_t lines, std::span<const std::byte, kPageBytes> bytes);
    [[nodiscard]] std::uint64_t step_to(std::uint64_t page);

    replay::ByteWriter bytes_;
    std::uint64_t next_page_ = 0;
};

// Any bytes may be given: every number is in its range and no page beyond `memory_pages`; what they
// can make this allocate is bounded by their own size. Whether a processor can be in that state is
// for KVM to say, and whether these hot pages are hot for CheckpointLoader.
[[nodiscard]] Result<Checkpoint> decode_checkpoint(std::span<const std::byte> bytes,
                                                   std::uint64_t memory_pages);

}  // namespace ftvmm::machine
