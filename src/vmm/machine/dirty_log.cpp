#include "vmm/machine/dirty_log.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "vmm/machine/memory_slots.h"

namespace ftvmm::machine {

namespace {

constexpr std::uint64_t kBitsPerWord = 64;

}  // namespace

std::vector<WordRange> ranges_to_clear(std::span<const std::uint64_t> words) {
    std::vector<WordRange> ranges;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == 0) continue;
        if (ranges.empty() || i - ranges.back().end >= kLongestGapWords) ranges.push_back({i, i});
        ranges.back().end = i + 1;
    }
    return ranges;
}

Result<std::unique_ptr<KvmDirtyLog>> KvmDirtyLog::start(const kvm::Vm& vm,
                                                        const GuestMemory& memory) {
    constexpr std::array kManual{std::uint64_t{KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
    if (const auto done = vm.enable_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, kManual); !done) {
        return Failure(done.error()
                           .with_context("this host can not track what a guest writes")
                           .with_advice("run it on a host with Linux 5.4 or later"));
    }
    FTVMM_TRY(set_memory_slots(vm, memory, KVM_MEM_LOG_DIRTY_PAGES));
    return std::unique_ptr<KvmDirtyLog>(new KvmDirtyLog(vm, memory));
}

KvmDirtyLog::KvmDirtyLog(const kvm::Vm& vm, const GuestMemory& memory) : vm_(&vm) {
    std::size_t words = 0;
    for (const auto& block : memory.blocks()) {
        FTVMM_CHECK(slots_.empty() || slots_.back().pages % kBitsPerWord == 0,
                    "a block that is not the last ends at a whole word of the log");
        const std::uint64_t pages = block.bytes.size() / kPageBytes;
        slots_.push_back({pages, words, (pages + kBitsPerWord - 1) / kBitsPerWord});
        words += slots_.back().words;
    }
    bits_.resize(words);
}

Result<std::span<const std::uint64_t>> KvmDirtyLog::read() {
    const std::span bits(bits_);
    std::uint32_t number = 0;
    for (const Slot& slot : slots_) {
        FTVMM_TRY(vm_->get_dirty_log(number++, bits.subspan(slot.first_word, slot.words)));
    }
    return bits;
}

Result<void> KvmDirtyLog::clear(std::span<const std::uint64_t> pages) {
    FTVMM_CHECK(pages.size() == bits_.size(), "what is cleared has a bit for every page");
    std::uint32_t number = 0;
    for (const Slot& slot : slots_) {
        FTVMM_TRY(clear_slot(number++, pages.subspan(slot.first_word, slot.words)));
    }
    return {};
}

Result<void> KvmDirtyLog::clear_slot(std::uint32_t number,
                                     std::span<const std::uint64_t> pages) const {
    for (const WordRange& range : ranges_to_clear(pages)) {
        const std::uint64_t first = range.first * kBitsPerWord;
        const std::uint64_t end = std::min(range.end * kBitsPerWord, slots_[number].pages);
        FTVMM_TRY(vm_->clear_dirty_log(number, first, static_cast<std::uint32_t>(end - first),
                                       pages.subspan(range.first, range.end - range.first)));
    }
    return {};
}

}  // namespace ftvmm::machine
