// KVM's capabilities, asked for once, so that what is missing can be named.
#pragma once

#include <array>
#include <span>
#include <string>

#include "base/result.h"
#include "vmm/kvm/system.h"

namespace ftvmm::kvm {

struct Capability {
    int id;
    const char* name;  // As in api.rst.
    const char* use;   // What ftvmm does with it.
};

// What ftvmm wants of a host, in the order of the doctor's report.
inline constexpr std::array kCapabilities{
    Capability{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory"},
    Capability{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "running on Intel hosts"},
    Capability{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "the CPU model"},
    Capability{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "completing an exit exactly"},
    Capability{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", "exit digests without an ioctl"},
    Capability{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "saving a vCPU"},
    Capability{KVM_CAP_EXCEPTION_PAYLOAD, "KVM_CAP_EXCEPTION_PAYLOAD", "saving a vCPU in a fault"},
    Capability{KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG", "stepping to a landmark"},
    Capability{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", "the x2APIC in userspace"},
    Capability{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", "deterministic MSRs"},
    Capability{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
               "checkpoint landmarks"},
    Capability{KVM_CAP_DIRTY_LOG_RING, "KVM_CAP_DIRTY_LOG_RING", "cheaper checkpoint landmarks"},
    Capability{KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL", "freezing user-space RDTSC"},
};

class Capabilities {
  public:
    // Asks for all of kCapabilities.
    static Result<Capabilities> probe(const System& system);

    // KVM_CHECK_EXTENSION's answer for one of kCapabilities: 0 means no.
    [[nodiscard]] int value(int id) const;
    // An error that names every capability of `ids` that is missing and what it is for.
    [[nodiscard]] Result<void> require(std::span<const int> ids) const;

  private:
    std::array<int, kCapabilities.size()> values_{};
};

}  // namespace ftvmm::kvm
