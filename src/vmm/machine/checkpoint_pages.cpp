#include "vmm/machine/checkpoint_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

namespace ftvmm::machine {

namespace {

constexpr std::uint64_t kBitsPerWord = 64;
// Beside its lines: the step from the page before and the bitmap.
constexpr std::size_t kMostPerPage = 20;
// So many lines of a hot page have changed, or fewer.
constexpr std::size_t kUsualLines = 4;

void set_bit(std::vector<std::uint64_t>& bits, std::uint64_t page) {
    bits[page / kBitsPerWord] |= std::uint64_t{1} << page % kBitsPerWord;
}
void clear_bit(std::vector<std::uint64_t>& bits, std::uint64_t page) {
    bits[page / kBitsPerWord] &= ~(std::uint64_t{1} << page % kBitsPerWord);
}
bool has_bit(const std::vector<std::uint64_t>& bits, std::uint64_t page) {
    return (bits[page / kBitsPerWord] >> page % kBitsPerWord & 1U) != 0;
}

// The lowest `count` bits that are set in `word`.
std::uint64_t lowest_bits(std::uint64_t word, std::size_t count) {
    std::uint64_t rest = word;
    for (; count > 0 && rest != 0; --count)
        rest &= rest - 1;
    return word & ~rest;
}

std::size_t count_bits(std::span<const std::uint64_t> words) {
    return std::accumulate(words.begin(), words.end(), std::size_t{0},
                           [](std::size_t sum, std::uint64_t word) {
                               return sum + static_cast<std::size_t>(std::popcount(word));
                           });
}

}  // namespace

CheckpointMaker::CheckpointMaker(DirtyLog& log, std::span<const std::byte> memory,
                                 CheckpointCosts& costs, std::size_t max_bytes)
    : log_(&log),
      memory_(memory),
      max_bytes_(max_bytes),
      is_hot_((memory.size() / kPageBytes + kBitsPerWord - 1) / kBitsPerWord),
      was_sent_(is_hot_.size()),
      to_send_(is_hot_.size()),
      to_heat_(is_hot_.size()),
      to_clear_(is_hot_.size()),
      costs_(&costs) {}

std::span<const std::byte, kPageBytes> CheckpointMaker::page_at(std::uint64_t page) const {
    return memory_.subspan(page * kPageBytes).first<kPageBytes>();
}

Result<void> CheckpointMaker::settle() {
    const SystemClock clock;
    const Instant start = clock.now();
    ++costs_->looks;
    FTVMM_ASSIGN(const auto dirty, log_->read());
    std::size_t cold = 0;
    for (std::size_t i = 0; i < to_clear_.size(); ++i) {
        to_clear_[i] = dirty[i] & ~is_hot_[i];
        cold += static_cast<std::size_t>(std::popcount(to_clear_[i]));
    }
    if (cold != 0) {
        ++costs_->settles;
        costs_->settled_pages += cold;
        FTVMM_TRY(log_->clear(to_clear_));
    }
    costs_->settle_time += clock.now() - start;
    return {};
}

Result<std::vector<std::byte>> CheckpointMaker::harvest(const CpuState& cpu) {
    PartTimer timer(*costs_);
    FTVMM_ASSIGN(const auto dirty, log_->read());
    timer.end(CheckpointCosts::kLog);
    sort_dirty(dirty);
    CheckpointEncoder out(number_, cpu);
    add_cold_pages(out);
    out.end_pages();
    timer.end(CheckpointCosts::kWhole);
    const auto differences = add_hot_pages(out);
    out.end_pages();
    timer.end(CheckpointCosts::kHot);
    if (is_full(out)) {
        return fail(
            fmt::format("the guest has written to more memory than a checkpoint takes "
                        "({} MiB)",
                        max_bytes_ >> 20U));
    }
    count(differences);
    commit(differences);
    timer.end(CheckpointCosts::kKeep);
    costs_->cleared_pages += count_bits(to_clear_);
    FTVMM_TRY(log_->clear(to_clear_));
    timer.end(CheckpointCosts::kClear);
    return out.take();
}

bool CheckpointMaker::is_full(const CheckpointEncoder& out) const {
    return out.size() > max_bytes_;
}

// Cold pages that are dirty: which of them stay cold, and which become hot.
void CheckpointMaker::sort_dirty(std::span<const std::uint64_t> dirty) {
    std::size_t room = kMaxHotPages - hot_.size();
    for (std::size_t i = 0; i < dirty.size(); ++i) {
        const std::uint64_t cold = dirty[i] & ~is_hot_[i];
        const std::uint64_t heats = lowest_bits(cold & was_sent_[i], room);
        room -= static_cast<std::size_t>(std::popcount(heats));
        to_heat_[i] = heats;
        to_send_[i] = cold & ~heats;
    }
}

void CheckpointMaker::add_cold_pages(CheckpointEncoder& out) const {
    // The hot pages too: to move all of it once more takes as long as to collect it.
    const std::size_t whole = count_bits(to_send_) + count_bits(to_heat_);
    out.reserve(std::min(max_bytes_, whole * (kPageBytes + kMostPerPage) +
                                         hot_.size() * (kUsualLines * kLineBytes + kMostPerPage)));
    for (std::size_t i = 0; i < to_send_.size(); ++i) {
        std::uint64_t pages = to_send_[i] | to_heat_[i];
        for (; pages != 0 && !is_full(out); pages &= pages - 1) {
            const auto page = i * kBitsPerWord + static_cast<std::size_t>(std::countr_zero(pages));
            out.add_whole(page, page_at(page), has_bit(to_heat_, page));
        }
    }
}

std::vector<CheckpointMaker::Difference> CheckpointMaker::add_hot_pages(
    CheckpointEncoder& out) const {
    std::vector<Difference> differences;
    differences.reserve(hot_.size());
    for (const auto& [page, hot] : hot_) {
        if (is_full(out)) break;
        const std::uint64_t lines = lines_that_differ(page_at(page), hot.shadow);
        differences.push_back({page, lines});
        const bool becomes_cold = lines == 0 && hot.unchanged + 1 == kColdAfter;
        if (lines != 0 || becomes_cold) out.add_hot(page, page_at(page), lines);
    }
    return differences;
}

void CheckpointMaker::count(std::span<const Difference> differences) const {
    ++costs_->checkpoints;
    const std::size_t heated = count_bits(to_heat_);
    costs_->whole_pages += count_bits(to_send_) + heated;
    costs_->heated_pages += heated;
    costs_->hot_pages += differences.size();
    for (const Difference& difference : differences) {
        costs_->changed_pages += difference.lines != 0 ? 1 : 0;
        costs_->changed_lines += static_cast<std::uint64_t>(std::popcount(difference.lines));
    }
}

void CheckpointMaker::commit(std::span<const Difference> differences) {
    ++number_;
    to_clear_ = to_send_;
    was_sent_.swap(to_send_);
    // In the order of the pages, as add_hot_pages() made them, and one for each.
    auto at = hot_.begin();
    for (const auto& [page, lines] : differences) {
        HotPage& hot = at->second;
        if (lines != 0) {
            hot.unchanged = 0;
            copy_lines(lines, page_at(page), hot.shadow);
        } else if (++hot.unchanged == kColdAfter) {
            set_bit(to_clear_, page);
            clear_bit(is_hot_, page);
            at = hot_.erase(at);
            continue;
        }
        ++at;
    }
    for (std::size_t i = 0; i < to_heat_.size(); ++i) {
        for (std::uint64_t pages = to_heat_[i]; pages != 0; pages &= pages - 1) {
            const auto page = i * kBitsPerWord + static_cast<std::size_t>(std::countr_zero(pages));
            set_bit(is_hot_, page);
            std::ranges::copy(page_at(page), hot_[page].shadow.begin());
        }
    }
}

std::span<std::byte, kPageBytes> CheckpointLoader::page_at(std::uint64_t page) const {
    return memory_.subspan(page * kPageBytes).first<kPageBytes>();
}

Result<void> CheckpointLoader::check(const Checkpoint& checkpoint) const {
    const bool is_first = checkpoint.number == 0;
    if (!is_first && checkpoint.number != next_number_) {
        return fail(fmt::format("it is checkpoint {} of a row, and {} were loaded",
                                checkpoint.number, next_number_));
    }
    std::size_t hot = is_first ? 0 : shadows_.size();
    for (const auto& whole : checkpoint.whole) {
        if (!is_first && shadows_.contains(whole.content.page)) {
            return fail("it holds all of a page that is hot");
        }
        hot += whole.becomes_hot ? 1 : 0;
    }
    if (hot > kMaxHotPages) return fail("it makes more pages hot than a machine has");
    for (const auto& page : checkpoint.hot) {
        if (is_first || !shadows_.contains(page.page)) {
            return fail("it changes a hot page that is none");
        }
    }
    return {};
}

void CheckpointLoader::load(const Checkpoint& checkpoint) {
    if (checkpoint.number == 0) shadows_.clear();
    next_number_ = checkpoint.number + 1;
    std::vector<std::uint64_t> cold_again;
    for (const auto& page : checkpoint.hot) {
        page.store(shadows_.at(page.page));
        if (page.lines == 0) cold_again.push_back(page.page);
    }
    // What is hot no longer too: the replay has moved it.
    for (const auto& [page, shadow] : shadows_)
        std::ranges::copy(shadow, page_at(page).begin());
    for (const std::uint64_t page : cold_again)
        shadows_.erase(page);
    for (const auto& whole : checkpoint.whole) {
        const auto target = page_at(whole.content.page);
        std::ranges::fill(target, std::byte{});
        whole.content.store(target);
        if (!whole.becomes_hot) continue;
        std::ranges::copy(target, shadows_[whole.content.page].begin());
    }
}

}  // namespace ftvmm::machine
