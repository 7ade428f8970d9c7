// Which pages the guest has written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/kvm/vm.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

// Bit n of word m stands for page 64 m + n of GuestMemory::bytes(). One thread, while the vCPU does
// not run. It tells of what the guest writes and what KVM writes for it, not of what the VMM does;
// a page that was only read may be among the written ones.
class DirtyLog {
  public:
    DirtyLog() = default;
    DirtyLog(const DirtyLog&) = delete;
    DirtyLog& operator=(const DirtyLog&) = delete;
    virtual ~DirtyLog() = default;

    // The pages written since each was last cleared. A view until the next call.
    [[nodiscard]] virtual Result<std::span<const std::uint64_t>> read() = 0;
    // Forgets those of `pages`: they are told of again once they are written again, which costs the
    // guest a fault each.
    [[nodiscard]] virtual Result<void> clear(std::span<const std::uint64_t> pages) = 0;
};

// Words of a bitmap, `end` not among them.
struct WordRange {
    std::size_t first = 0;
    std::size_t end = 0;
    bool operator==(const WordRange&) const = default;
};
// KVM looks at every word that it is told to clear, with the guest's memory locked. So long a run
// of zeroes is left out.
inline constexpr std::size_t kLongestGapWords = 4096;
// The ranges that hold all of `words` that are not zero, each from one such word to another, in
// order.
[[nodiscard]] std::vector<WordRange> ranges_to_clear(std::span<const std::uint64_t> words);

// KVM's, with KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: reading protects nothing, so that a page that is
// not cleared costs no more faults.
class KvmDirtyLog final : public DirtyLog {
  public:
    // From here on the slots of `memory` (memory_slots.h) are logged; nothing is dirty yet. `vm`
    // and `memory` outlive the log. An error: this KVM has no such capability.
    static Result<std::unique_ptr<KvmDirtyLog>> start(const kvm::Vm& vm, const GuestMemory& memory);

    [[nodiscard]] Result<std::span<const std::uint64_t>> read() override;
    [[nodiscard]] Result<void> clear(std::span<const std::uint64_t> pages) override;

  private:
    struct Slot {
        std::uint64_t pages = 0;
        std::size_t first_word = 0;
        std::size_t words = 0;
    };
    KvmDirtyLog(const kvm::Vm& vm, const GuestMemory& memory);
    [[nodiscard]] Result<void> clear_slot(std::uint32_t number,
                                          std::span<const std::uint64_t> pages) const;

    const kvm::Vm* vm_;
    std::vector<Slot> slots_;
    std::vector<std::uint64_t> bits_;
};

}  // namespace ftvmm::machine
