#include "vmm/kvm/vm.h"

#include <algorithm>

#include "base/check.h"
#include "vmm/kvm/ioctl.h"

namespace ftvmm::kvm {

Result<void> Vm::enable_cap(std::uint32_t capability,
                            std::span<const std::uint64_t> arguments) const {
    kvm_enable_cap request{};
    request.cap = capability;
    FTVMM_CHECK(arguments.size() <= std::size(request.args), "KVM_ENABLE_CAP takes 4 arguments");
    std::ranges::copy(arguments, std::begin(request.args));
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_ENABLE_CAP, &request));
    return {};
}

Result<void> Vm::set_tss_addr(Gpa address) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_TSS_ADDR, static_cast<unsigned long>(address.value())));
    return {};
}

Result<void> Vm::set_user_memory_region(std::uint32_t slot, Gpa address,
                                        std::span<std::byte> memory, std::uint32_t flags) const {
    kvm_userspace_memory_region region{};
    region.slot = slot;
    region.flags = flags;
    region.guest_phys_addr = address.value();
    region.memory_size = memory.size();
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): KVM takes the address as a
    // number.
    region.userspace_addr = reinterpret_cast<std::uint64_t>(memory.data());
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_USER_MEMORY_REGION, &region));
    return {};
}

Result<std::vector<std::uint64_t>> Vm::get_dirty_log(std::uint32_t slot,
                                                     std::uint64_t pages) const {
    constexpr std::uint64_t kBitsPerWord = 64;
    std::vector<std::uint64_t> bits((pages + kBitsPerWord - 1) / kBitsPerWord);
    FTVMM_TRY(get_dirty_log(slot, std::span(bits)));
    return bits;
}

Result<void> Vm::get_dirty_log(std::uint32_t slot, std::span<std::uint64_t> bits) const {
    kvm_dirty_log log{};
    log.slot = slot;
    log.dirty_bitmap = bits.data();
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_DIRTY_LOG, &log));
    return {};
}

Result<void> Vm::clear_dirty_log(std::uint32_t slot, std::uint64_t first_page, std::uint32_t pages,
                                 std::span<const std::uint64_t> bits) const {
    kvm_clear_dirty_log log{};
    log.slot = slot;
    log.first_page = first_page;
    log.num_pages = pages;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): KVM only reads it.
    log.dirty_bitmap = const_cast<std::uint64_t*>(bits.data());
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_CLEAR_DIRTY_LOG, &log));
    return {};
}

Result<int> Vm::reset_dirty_rings() const {
    return FTVMM_KVM(fd_, KVM_RESET_DIRTY_RINGS, 0UL);
}

Result<void> Vm::x86_set_msr_filter(kvm_msr_filter& filter) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_X86_SET_MSR_FILTER, &filter));
    return {};
}

Result<Vcpu> Vm::create_vcpu(unsigned long id) const {
    FTVMM_ASSIGN(const int fd, FTVMM_KVM(fd_, KVM_CREATE_VCPU, id));
    Fd vcpu_fd(fd);
    FTVMM_ASSIGN(Mapping run, Mapping::shared(vcpu_fd, run_bytes_));
    return Vcpu(std::move(vcpu_fd), std::move(run));
}

}  // namespace ftvmm::kvm
