// A VM file descriptor: memory slots, capabilities, MSR filter, dirty tracking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/gpa.h"

namespace ftvmm::kvm {

// Methods carry their ioctl's name; their errors do too. One thread at a time.
class Vm {
  public:
    // `run_bytes` is the system's KVM_GET_VCPU_MMAP_SIZE. Use System::create_vm.
    Vm(Fd fd, std::size_t run_bytes) : fd_(std::move(fd)), run_bytes_(run_bytes) {}

    // KVM_ENABLE_CAP with up to four arguments.
    [[nodiscard]] Result<void> enable_cap(std::uint32_t capability,
                                          std::span<const std::uint64_t> arguments) const;
    // KVM_SET_TSS_ADDR: three pages that Intel hosts need and the guest never sees.
    [[nodiscard]] Result<void> set_tss_addr(Gpa address) const;
    // KVM_SET_USER_MEMORY_REGION: `memory` backs the guest from `address` on. It must
    // stay mapped as long as the slot. `flags` as KVM_MEM_LOG_DIRTY_PAGES; an empty `memory`
    // deletes the slot.
    [[nodiscard]] Result<void> set_user_memory_region(std::uint32_t slot, Gpa address,
                                                      std::span<std::byte> memory,
                                                      std::uint32_t flags) const;
    // KVM_GET_DIRTY_LOG: one bit per page of the slot, lowest page first.
    [[nodiscard]] Result<std::vector<std::uint64_t>> get_dirty_log(std::uint32_t slot,
                                                                   std::uint64_t pages) const;
    // The same into `bits`, which has one for every page of the slot.
    [[nodiscard]] Result<void> get_dirty_log(std::uint32_t slot,
                                             std::span<std::uint64_t> bits) const;
    // KVM_CLEAR_DIRTY_LOG: protects again the pages whose bits are set, of `pages`
    // pages (a multiple of 64, or all to the end of the slot) from `first_page` (a multiple of 64)
    // on.
    [[nodiscard]] Result<void> clear_dirty_log(std::uint32_t slot, std::uint64_t first_page,
                                               std::uint32_t pages,
                                               std::span<const std::uint64_t> bits) const;
    // KVM_RESET_DIRTY_RINGS: how many entries of the rings were taken back.
    [[nodiscard]] Result<int> reset_dirty_rings() const;
    // KVM_X86_SET_MSR_FILTER.
    [[nodiscard]] Result<void> x86_set_msr_filter(kvm_msr_filter& filter) const;
    // KVM_CREATE_VCPU, with its kvm_run page mapped.
    [[nodiscard]] Result<Vcpu> create_vcpu(unsigned long id) const;

  private:
    Fd fd_;
    std::size_t run_bytes_;
};

}  // namespace ftvmm::kvm
