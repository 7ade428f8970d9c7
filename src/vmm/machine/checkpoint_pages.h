// The pages of a checkpoint: those that a guest wrote where its follower did not see it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"
#include "vmm/machine/checkpoint_codec.h"
#include "vmm/machine/checkpoint_costs.h"
#include "vmm/machine/dirty_log.h"

namespace ftvmm::machine {

// A machine and its follower have the same memory at every landmark. Between the last one and a
// checkpoint the guest ran on one side alone, so what it wrote there must travel. What travels is
// more: all that was written since the last harvest or settle, as the log does not say when.
//
// page   where                 written since           goes over as        then
// cold   not in the log        -                       -                   cold
// cold   in the log            the last harvest        whole               cleared: cold
// cold   in the log            the last two harvests   whole               hot: its bit stays
// hot    differs from shadow   -                       lines that differ   hot
// hot    as its shadow         -                       -                   hot; the 16th time cold
//
// A hot page costs the guest no fault. Its shadow is the page as of the last checkpoint, on both
// sides, made of the checkpoints alone. The follower's own replay has moved its page since, up to
// the last exit, and by other writes than the machine's since the last checkpoint: so it rewrites
// every hot page from its shadow, also those that have not changed.
//
// What the VMM writes (DMA, the clock's page, the EOI flag) is in no log, and need not be. It does
// so at landmarks only, by inputs and as an interrupt goes in, and the follower does the same at
// the same landmark; for those of the landmark before a checkpoint, before it loads. Such a write
// to a cold page that the guest has not written is then on both sides. To any other page, it is
// part of what travels: a harvest reads the page itself, whoever wrote it, whole or against a
// shadow that is just as old on the other side, and the follower's own write is overwritten by the
// same bytes. Shadows change in harvests and loads alone.
//
// Both: one thread, while the vCPU does not run. `memory` is GuestMemory::bytes() and outlives
// them.

// Bounds the shadows (16 MiB), and what comparing them costs: some milliseconds.
inline constexpr std::size_t kMaxHotPages = 4096;
// A page that has not changed for so many checkpoints is cold again.
inline constexpr unsigned kColdAfter = 16;
// What a record of the log takes.
inline constexpr std::size_t kMaxCheckpointBytes =
    replay::kMaxRecordBytes - replay::RecordEncoder::kMaxPlainBytes;

using PageBytes = std::array<std::byte, kPageBytes>;

class CheckpointMaker {
  public:
    // The row of checkpoints that begins here builds on none before it. Requires that a follower
    // that stands at the same landmark has the same memory, but for what is in `log`. That and
    // `costs`, in which it counts, outlive this.
    CheckpointMaker(DirtyLog& log, std::span<const std::byte> memory, CheckpointCosts& costs,
                    std::size_t max_bytes = kMaxCheckpointBytes);

    // At a landmark, where follower and machine have the same memory: what was written so far need
    // not go over. The next checkpoint gets smaller for it.
    [[nodiscard]] Result<void> settle();
    // A checkpoint of `cpu` and the pages. An error where it takes more than `max_bytes`: nothing
    // has changed then, and the guest can go on to its next exit; after any other error no more
    // checkpoints can be made.
    [[nodiscard]] Result<std::vector<std::byte>> harvest(const CpuState& cpu);

    [[nodiscard]] std::size_t hot_pages() const { return hot_.size(); }

  private:
    struct HotPage {
        PageBytes shadow{};
        unsigned unchanged = 0;  // For so many checkpoints.
    };
    struct Difference {
        std::uint64_t page = 0;
        std::uint64_t lines = 0;
    };
    [[nodiscard]] std::span<const std::byte, kPageBytes> page_at(std::uint64_t page) const;
    [[nodiscard]] bool is_full(const CheckpointEncoder& out) const;
    void sort_dirty(std::span<const std::uint64_t> dirty);
    void add_cold_pages(CheckpointEncoder& out) const;
    [[nodiscard]] std::vector<Difference> add_hot_pages(CheckpointEncoder& out) const;
    void count(std::span<const Difference> differences) const;
    void commit(std::span<const Difference> differences);

    DirtyLog* log_;
    std::span<const std::byte> memory_;
    std::size_t max_bytes_;
    std::uint64_t number_ = 0;
    std::map<std::uint64_t, HotPage> hot_;
    // By page, as in the log.
    std::vector<std::uint64_t> is_hot_;
    std::vector<std::uint64_t> was_sent_;  // In the last harvest, and cold behind it.
    std::vector<std::uint64_t> to_send_;   // In this one, and cold behind it.
    std::vector<std::uint64_t> to_heat_;
    std::vector<std::uint64_t> to_clear_;
    CheckpointCosts* costs_;
};

class CheckpointLoader {
  public:
    explicit CheckpointLoader(std::span<std::byte> memory) : memory_(memory) {}

    // Whether `checkpoint` is the next of the row that was loaded so far, or the first of another;
    // an error, and nothing has changed, where it is not.
    [[nodiscard]] Result<void> check(const Checkpoint& checkpoint) const;
    // Requires that check() found nothing.
    void load(const Checkpoint& checkpoint);

  private:
    [[nodiscard]] std::span<std::byte, kPageBytes> page_at(std::uint64_t page) const;

    std::span<std::byte> memory_;
    std::uint64_t next_number_ = 0;
    std::map<std::uint64_t, PageBytes> shadows_;  // Of the hot pages.
};

}  // namespace ftvmm::machine
