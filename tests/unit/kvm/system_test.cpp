#include "vmm/kvm/system.h"

#include <catch2/catch.hpp>

namespace ftvmm::kvm {
namespace {

TEST_CASE("Only KVM API version 12 is accepted") {
    CHECK(check_api_version(12));
    const auto old = check_api_version(11);
    REQUIRE_FALSE(old);
    CHECK_THAT(old.error().line(), Catch::Contains("API version 11") && Catch::Contains("run a "));
}

TEST_CASE("A missing KVM device says how to get one") {
    const auto system = System::open("/nonexistent/kvm");
    REQUIRE_FALSE(system);
    CHECK_THAT(system.error().line(),
               Catch::Contains("/nonexistent/kvm") && Catch::Contains("load kvm_amd or kvm_intel"));
}

TEST_CASE("A device that is not KVM is refused as such") {
    const auto system = System::open("/dev/null");
    REQUIRE_FALSE(system);
    CHECK(system.error().line() == "/dev/null is not a KVM device; name the KVM device, /dev/kvm");
}

}  // namespace
}  // namespace ftvmm::kvm
