// The /dev/kvm file descriptor: what this host's KVM is and can do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm/vm.h"

namespace ftvmm::kvm {

// The only stable API version; a KVM with another one is refused.
inline constexpr int kApiVersion = 12;

// An error that says what to do, unless `version` is the one that ftvmm speaks.
Result<void> check_api_version(int version);

// Any thread may call it; each call is one ioctl.
class System {
  public:
    // Opens `device` and checks the API version. Errors tell a missing device from a missing
    // permission and from another API.
    static Result<System> open(const std::string& device = "/dev/kvm");

    // KVM_CHECK_EXTENSION: 0 means no, more may be a size or a mask.
    [[nodiscard]] Result<int> check_extension(int capability) const;
    // KVM_GET_VCPU_MMAP_SIZE, in bytes.
    [[nodiscard]] Result<std::size_t> get_vcpu_mmap_size() const;
    // KVM_GET_SUPPORTED_CPUID.
    [[nodiscard]] Result<std::vector<kvm_cpuid_entry2>> get_supported_cpuid() const;
    // KVM_GET_MSR_INDEX_LIST: the MSRs that KVM_GET_MSRS and KVM_SET_MSRS know on this host and
    // that hold a guest's state.
    [[nodiscard]] Result<std::vector<std::uint32_t>> get_msr_index_list() const;
    // KVM_CREATE_VM.
    [[nodiscard]] Result<Vm> create_vm() const;

  private:
    explicit System(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace ftvmm::kvm
