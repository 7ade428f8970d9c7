#include "vmm/kvm/vcpu.h"

#include <array>

#include <catch2/catch.hpp>

namespace ftvmm::kvm {
namespace {

TEST_CASE("MSRs that KVM stops at are named") {
    const std::array<std::uint32_t, 3> indices{0x174, 0xc0000082, 0x10};
    CHECK(check_msrs_done("KVM_SET_MSRS", 3, indices));
    CHECK(check_msrs_done("KVM_SET_MSRS", 0, {}));
    const auto stopped = check_msrs_done("KVM_SET_MSRS", 1, indices);
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().what() == "KVM_SET_MSRS: KVM refuses MSR 0xc0000082 (number 2 of 3)");
    CHECK_FALSE(check_msrs_done("KVM_GET_MSRS", 0, indices));
    CHECK_FALSE(check_msrs_done("KVM_GET_MSRS", 2, indices));
}

}  // namespace
}  // namespace ftvmm::kvm
