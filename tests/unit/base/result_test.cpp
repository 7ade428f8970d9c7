#include "base/result.h"

#include <cerrno>
#include <memory>

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) return fail("odd", "give an even number");
    return number / 2;
}

Result<int> quarter(int number) {
    FTVMM_ASSIGN(const int once, half(number));
    FTVMM_ASSIGN(const int twice, half(once));
    return twice;
}

Result<void> only_even(int number) {
    FTVMM_TRY(half(number));
    return {};
}

TEST_CASE("The macros pass values on and return the first error") {
    CHECK(quarter(12) == 3);
    CHECK(quarter(6).error().what() == "odd");
    CHECK(only_even(2));
    CHECK_FALSE(only_even(3));
}

TEST_CASE("A result moves what cannot be copied") {
    const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
    const auto use = [&]() -> Result<int> {
        FTVMM_ASSIGN(const auto pointer, make());
        return *pointer;
    };
    CHECK(use() == 5);
}

TEST_CASE("An error reads from the outside in, its advice last") {
    const Error error = Error::from_errno(ENOENT, "/dev/kvm", "load kvm_amd");
    CHECK(error.line() == "/dev/kvm: No such file or directory; load kvm_amd");
    const Error outer = error.with_context("cannot start");
    CHECK(outer.line() == "cannot start: /dev/kvm: No such file or directory; load kvm_amd");
    CHECK(outer.error_number() == ENOENT);
    CHECK(outer.with_advice("wait").line() ==
          "cannot start: /dev/kvm: No such file or directory; wait");
    CHECK(Error("lost").line() == "lost");
}

}  // namespace
}  // namespace ftvmm
