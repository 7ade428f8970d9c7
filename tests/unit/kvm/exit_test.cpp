#include "vmm/kvm/exit.h"

#include <array>

#include <catch2/catch.hpp>

#include "vmm/kvm/flex_array.h"
#include "vmm/kvm/kvm_api.h"

namespace ftvmm::kvm {
namespace {

TEST_CASE("An exit is described in the words of the manuals") {
    std::array<std::byte, 2> data{};
    CHECK(describe(exit::IoOut{0x3f8, 1, data}) == "OUT of 2 bytes to port 0x3f8");
    CHECK(describe(exit::MmioRead{Gpa(0xd0000000), data}) == "MMIO read of 2 bytes at 0xd0000000");
    CHECK(describe(exit::Hlt{}) == "HLT");
    exit::InternalError error;
    error.suberror = KVM_INTERNAL_ERROR_EMULATION;
    CHECK_THAT(describe(error), Catch::Contains("an instruction it cannot emulate"));
}

TEST_CASE("The ioctl numbers are the kernel's, whatever the system headers do to C++") {
    // Numbers as a C program sees them; see kvm_api.h.
    CHECK(KVM_GET_SUPPORTED_CPUID == 0xc008ae05);
    CHECK(KVM_SET_CPUID2 == 0x4008ae90);
    CHECK(KVM_GET_MSRS == 0xc008ae88);
    CHECK(KVM_SET_MSRS == 0x4008ae89);
    CHECK(KVM_GET_MSR_INDEX_LIST == 0xc004ae02);
    CHECK(KVM_GET_XSAVE == 0x9000aea4);
    CHECK(KVM_SET_SIGNAL_MASK == 0x4004ae8b);
    CHECK(KVM_GET_REG_LIST == 0xc008aeb0);
}

TEST_CASE("A flexible array keeps its entries right behind its header") {
    std::array<kvm_cpuid_entry2, 2> entries{};
    entries[0].function = 1;
    entries[1].function = 7;
    FlexArray<kvm_cpuid2, kvm_cpuid_entry2> array(2, entries);
    const auto* start = reinterpret_cast<const std::byte*>(array.header());
    const auto* first = reinterpret_cast<const std::byte*>(array.entries().data());
    CHECK(first - start == 8);
    CHECK(array.entries()[1].function == 7);
    CHECK(array.header()->nent == 0);
}

}  // namespace
}  // namespace ftvmm::kvm
