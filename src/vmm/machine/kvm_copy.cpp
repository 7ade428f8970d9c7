// KvmMachine's part in a copy of it that is made while it runs.
#include <algorithm>

#include "base/check.h"
#include "vmm/machine/kvm_machine.h"
#include "vmm/machine/memory_slots.h"

namespace ftvmm::machine {

Result<void> KvmMachine::begin_copy() {
    FTVMM_CHECK(!do_disks_reach_memory(), "disks do not reach the memory that is copied");
    checkpoint_maker_.reset();
    if (!dirty_log_) {
        FTVMM_ASSIGN(dirty_log_, KvmDirtyLog::start(vm_.vm, vm_.memory));
    }
    FTVMM_TRY(take_written_pages());
    return {};
}

Result<PageSet> KvmMachine::take_written_pages() {
    FTVMM_CHECK(dirty_log_ && !checkpoint_maker_, "pages are taken while a copy is made");
    FTVMM_ASSIGN(const auto dirty, dirty_log_->read());
    FTVMM_TRY(dirty_log_->clear(dirty));
    PageSet pages(vm_.memory.size() / kPageBytes);
    pages.add_words(dirty);
    // Numbered by address, so with the hole below 4 GiB among them.
    const auto blocks = vm_.memory.blocks();
    for (const std::uint64_t number : platform_.dma().take_written_pages()) {
        std::uint64_t before = 0;
        for (const RamBlock& block : blocks) {
            const std::uint64_t first = block.start.value() / kPageBytes;
            const std::uint64_t count = block.bytes.size() / kPageBytes;
            if (number >= first && number - first < count) pages.add(before + number - first);
            before += count;
        }
    }
    return pages;
}

Result<void> KvmMachine::lead_from_here() {
    FTVMM_CHECK(complete_ && !waiting_, "a copy is made between two instructions");
    only_at_landmarks_ = true;
    at_landmark_ = true;  // By agreement: this is where the copy begins.
    is_fresh_ = true;
    return track_dirty_pages();
}

Result<void> KvmMachine::run_alone() {
    only_at_landmarks_ = false;
    checkpoint_maker_.reset();
    dirty_log_.reset();
    return set_memory_slots(vm_.vm, vm_.memory);
}

}  // namespace ftvmm::machine
