#include "vmm/kvm/system.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "vmm/kvm/flex_array.h"
#include "vmm/kvm/ioctl.h"

namespace ftvmm::kvm {

namespace {

std::string advice_for_open(int error_number) {
    switch (error_number) {
        case ENOENT:
        case ENXIO:
        case ENODEV:
            return "load kvm_amd or kvm_intel, and see that virtualisation is on in the firmware";
        case EACCES:
        case EPERM:
            return "run as root or join the group that owns it (usually kvm)";
        case EBUSY:
            return "another hypervisor holds the processor's virtualisation: stop it";
        default:
            return {};
    }
}

}  // namespace

Result<void> check_api_version(int version) {
    if (version == kApiVersion) return {};
    return fail(fmt::format("KVM speaks API version {}, ftvmm speaks {}", version, kApiVersion),
                "run a stock Linux kernel of the last years on this host");
}

Result<System> System::open(const std::string& device) {
    auto fd = Fd::open(device, O_RDWR);
    if (!fd) {
        return Failure(fd.error()
                           .with_context("cannot use KVM")
                           .with_advice(advice_for_open(fd.error().error_number())));
    }
    const auto version = FTVMM_KVM(*fd, KVM_GET_API_VERSION, 0UL);
    if (!version) {
        return fail(fmt::format("{} is not a KVM device", device), "name the KVM device, /dev/kvm");
    }
    FTVMM_TRY(check_api_version(*version));
    return System(std::move(*fd));
}

Result<int> System::check_extension(int capability) const {
    return FTVMM_KVM(fd_, KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
}

Result<std::size_t> System::get_vcpu_mmap_size() const {
    FTVMM_ASSIGN(const int size, FTVMM_KVM(fd_, KVM_GET_VCPU_MMAP_SIZE, 0UL));
    return static_cast<std::size_t>(size);
}

Result<std::vector<kvm_cpuid_entry2>> System::get_supported_cpuid() const {
    // KVM_MAX_CPUID_ENTRIES of arch/x86/include/asm/kvm_host.h: more are never returned.
    constexpr std::size_t kMaxEntries = 256;
    FlexArray<kvm_cpuid2, kvm_cpuid_entry2> cpuid(kMaxEntries);
    cpuid.header()->nent = kMaxEntries;
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_SUPPORTED_CPUID, cpuid.header()));
    const auto entries = cpuid.entries().first(cpuid.header()->nent);
    return std::vector<kvm_cpuid_entry2>(entries.begin(), entries.end());
}

Result<std::vector<std::uint32_t>> System::get_msr_index_list() const {
    // api.rst 4.3: too small a list fails with E2BIG and tells the size.
    kvm_msr_list size{};
    const auto asked = FTVMM_KVM(fd_, KVM_GET_MSR_INDEX_LIST, &size);
    if (!asked && asked.error().error_number() != E2BIG) return Failure(asked.error());
    FlexArray<kvm_msr_list, std::uint32_t> list(size.nmsrs);
    list.header()->nmsrs = size.nmsrs;
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_MSR_INDEX_LIST, list.header()));
    const auto indices = list.entries();
    return std::vector<std::uint32_t>(indices.begin(), indices.end());
}

Result<Vm> System::create_vm() const {
    FTVMM_ASSIGN(const std::size_t run_bytes, get_vcpu_mmap_size());
    FTVMM_ASSIGN(const int fd, FTVMM_KVM(fd_, KVM_CREATE_VM, 0UL));
    return Vm(Fd(fd), run_bytes);
}

}  // namespace ftvmm::kvm
