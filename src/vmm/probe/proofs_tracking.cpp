// Proofs of what KVM tells the VMM: MSR accesses and written pages.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "vmm/probe/images.h"
#include "vmm/probe/proofs.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::proofs {

namespace {

constexpr std::uint32_t kMsrTsc = 0x10;
constexpr std::uint32_t kMsrX2apicTpr = 0x808;

Result<void> expect_rdmsr(SmallGuest& guest, std::uint32_t index, std::uint64_t answer) {
    FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
    const auto* msr = std::get_if<kvm::exit::Rdmsr>(&exit);
    if (msr == nullptr || msr->index != index) {
        return Failure(guest.unexpected(fmt::format("RDMSR of {:#x}", index), exit));
    }
    *msr->value = answer;
    return {};
}

}  // namespace

Result<std::string> msr_exits(const kvm::System& system) {
    std::array<std::uint8_t, 8> deny_all{};  // A clear bit denies.
    kvm_msr_filter filter{};
    filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
    filter.ranges[0].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    filter.ranges[0].base = kMsrTsc;
    filter.ranges[0].nmsrs = 1;
    filter.ranges[0].bitmap = deny_all.data();
    SmallGuest::Options options;
    options.user_space_msrs = true;
    options.msr_filter = &filter;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_msr(), options));

    FTVMM_TRY(expect_rdmsr(guest, kMsrX2apicTpr, 0x42));
    FTVMM_TRY(guest.expect_out(0xe0, 0x42));
    FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
    const auto* write = std::get_if<kvm::exit::Wrmsr>(&exit);
    if (write == nullptr || write->index != kMsrX2apicTpr || write->value != 0x77) {
        return Failure(guest.unexpected("WRMSR of 0x77 to 0x808", exit));
    }
    FTVMM_TRY(expect_rdmsr(guest, kMsrTsc, 0x1234));
    FTVMM_TRY(guest.expect_out(0xe0, 0x1234));
    return std::string("x2APIC registers and filtered MSRs come to userspace");
}

namespace {

constexpr std::uint64_t kRamPages = SmallGuest::kRamBytes / kPageBytes;
// The pages that probe_dirty writes: the first before its first exit, both before its second.
constexpr std::uint64_t kFirstPage = SmallGuest::kScratch.value() / kPageBytes + 3;
constexpr std::uint64_t kSecondPage = SmallGuest::kScratch.value() / kPageBytes + 5;

bool has_bit(const std::vector<std::uint64_t>& bits, std::uint64_t page) {
    return (bits[page / 64] >> (page % 64) & 1) != 0;
}

}  // namespace

Result<std::string> dirty_log(const kvm::System& system) {
    SmallGuest::Options options;
    options.slot_flags = KVM_MEM_LOG_DIRTY_PAGES;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_dirty(), options));
    const std::array<std::uint64_t, 1> enable{1};  // KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
    FTVMM_TRY(guest.vm().enable_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, enable));
    FTVMM_TRY(guest.expect_out(0xe0));
    FTVMM_ASSIGN(auto bits, guest.vm().get_dirty_log(0, kRamPages));
    if (!has_bit(bits, kFirstPage)) return fail("a page that the guest wrote is not in the log");
    if (has_bit(bits, kSecondPage)) return fail("a page that nobody wrote is in the log");
    // Protects again what was dirty: the next log holds what is written from here on.
    FTVMM_TRY(guest.vm().clear_dirty_log(0, 0, kRamPages, bits));
    FTVMM_ASSIGN(bits, guest.vm().get_dirty_log(0, kRamPages));
    if (has_bit(bits, kFirstPage)) return fail("a page that was cleared is still in the log");
    FTVMM_TRY(guest.expect_out(0xe0));
    FTVMM_ASSIGN(bits, guest.vm().get_dirty_log(0, kRamPages));
    if (!has_bit(bits, kFirstPage) || !has_bit(bits, kSecondPage)) {
        return fail("a write after clearing is not in the log");
    }
    return std::string("the log holds the pages written, and only those since it was cleared");
}

namespace {

// The consumer's end of one dirty ring (api.rst, KVM_CAP_DIRTY_LOG_RING).
class RingReader {
  public:
    explicit RingReader(const Mapping& ring)
        // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): struct kvm_dirty_gfn.
        : gfns_(reinterpret_cast<kvm_dirty_gfn*>(ring.bytes().data()),
                ring.bytes().size() / sizeof(kvm_dirty_gfn)) {}

    // The pages written since the last harvest, marked as to be taken back.
    std::vector<std::uint64_t> harvest() {
        std::vector<std::uint64_t> pages;
        for (;; ++next_) {
            kvm_dirty_gfn& gfn = gfns_[next_ % gfns_.size()];
            std::atomic_ref flags(gfn.flags);
            if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) == 0) return pages;
            pages.push_back(gfn.offset);
            flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
        }
    }

  private:
    std::span<kvm_dirty_gfn> gfns_;
    std::size_t next_ = 0;
};

bool has_page(const std::vector<std::uint64_t>& pages, std::uint64_t page) {
    return std::ranges::find(pages, page) != pages.end();
}

}  // namespace

Result<std::string> dirty_ring(const kvm::System& system) {
    FTVMM_ASSIGN(const int most_bytes, system.check_extension(KVM_CAP_DIRTY_LOG_RING));
    constexpr std::uint32_t kEntries = 4096;
    constexpr std::uint32_t kRingBytes = kEntries * sizeof(kvm_dirty_gfn);
    if (std::cmp_less(most_bytes, kRingBytes)) {
        return fail(fmt::format("its rings hold no more than {} bytes", most_bytes));
    }
    SmallGuest::Options options;
    options.slot_flags = KVM_MEM_LOG_DIRTY_PAGES;
    options.dirty_ring_bytes = kRingBytes;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_dirty(), options));
    FTVMM_ASSIGN(const Mapping ring, guest.vcpu().map_dirty_ring(kRingBytes));
    FTVMM_TRY(guest.expect_out(0xe0));
    RingReader reader(ring);
    const auto first = reader.harvest();
    if (!has_page(first, kFirstPage)) return fail("a page that the guest wrote is not in the ring");
    FTVMM_ASSIGN(const int reset, guest.vm().reset_dirty_rings());
    if (std::cmp_not_equal(reset, first.size())) {
        return fail(fmt::format("{} pages were harvested, KVM took back {}", first.size(), reset));
    }
    FTVMM_TRY(guest.expect_out(0xe0));
    const auto second = reader.harvest();
    if (!has_page(second, kFirstPage) || !has_page(second, kSecondPage)) {
        return fail("a write after the reset is not in the ring");
    }
    return std::string("the ring holds the pages written, and again those written after its reset");
}

}  // namespace ftvmm::proofs
