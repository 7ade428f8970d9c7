// Runs the small guests: `guests NAME...`, or `guests all`.
//
// Exit code 0: all passed. 1: one failed. 77: nothing failed, but this host cannot run one of them,
// for the reason printed. With --require-kvm that is a failure: for hosts that must be able to.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "guest_test.h"
#include "vmm/probe/examine.h"

namespace ftvmm::guests {

std::vector<GuestTest> all_guest_tests() {
    return {
        {"checkpoint",
         {Ability::kInterrupts, Ability::kKernelSse, Ability::kDirtyLog},
         test_checkpoint,
         can_track_pages},
        {"checkpoint_plain", {Ability::kDirtyLog}, test_checkpoint_plain, can_track_pages},
        {"compute", {}, test_compute},
        {"cpuid", {}, test_cpuid, keeps_to_cpuid},
        {"hlt", {}, test_hlt},
        {"idt_iret", {Ability::kInterrupts}, test_idt_iret},
        {"interrupt_window", {Ability::kInterrupts, Ability::kSingleStep}, test_interrupt_window},
        {"mmio", {}, test_mmio},
        {"page_fault", {Ability::kUserMode}, test_page_fault},
        {"port_echo", {}, test_port_echo},
        {"rdtsc", {}, test_rdtsc},
        {"ring3", {Ability::kUserMode}, test_ring3},
        {"saved_machine",
         {Ability::kInterrupts, Ability::kKernelSse},
         test_saved_machine,
         can_power_on},
        {"self_modifying", {}, test_self_modifying},
        {"string_io", {}, test_string_io},
        {"vcpu_state", {}, test_vcpu_state},
        {"xmm_state", {Ability::kKernelSse}, test_xmm_state},
    };
}

namespace {

enum class Outcome { kPassed, kSkipped, kFailed };

// Why this host cannot run `test`, or nothing.
std::string why_not(const kvm::System& system, const GuestTest& test) {
    std::vector<Ability> needs = test.needs;
    needs.insert(needs.begin(), Ability::kPortIo);
    for (const Ability ability : needs) {
        const Finding finding = prove(system, ability);
        if (!finding.works) {
            return fmt::format("{}: {}", name_of(ability).title, finding.detail);
        }
    }
    if (test.host_can == nullptr) return {};
    const auto can = test.host_can(system);
    return can ? std::string() : can.error().line();
}

Outcome run(const kvm::System& system, const GuestTest& test, bool require_kvm) {
    if (const std::string reason = why_not(system, test); !reason.empty()) {
        fmt::print("{}: {}: this host cannot run it: {}\n", require_kvm ? "FAILED" : "skipped",
                   test.name, reason);
        return require_kvm ? Outcome::kFailed : Outcome::kSkipped;
    }
    if (const auto result = test.run(system); !result) {
        fmt::print("FAILED: {}: {}\n", test.name, result.error().line());
        return Outcome::kFailed;
    }
    fmt::print("passed: {}\n", test.name);
    return Outcome::kPassed;
}

int exit_code(Outcome worst) {
    constexpr int kSkipReturnCode = 77;
    if (worst == Outcome::kPassed) return 0;
    return worst == Outcome::kSkipped ? kSkipReturnCode : 1;
}

int run_named(std::span<const std::string_view> names, bool require_kvm) {
    const auto tests = all_guest_tests();
    for (const std::string_view name : names) {
        if (name == "all" || std::ranges::find(tests, name, &GuestTest::name) != tests.end())
            continue;
        fmt::print("FAILED: there is no guest {}\n", name);
        return exit_code(Outcome::kFailed);
    }
    const auto system = kvm::System::open();
    if (!system) {
        fmt::print("{}: {}\n", require_kvm ? "FAILED" : "skipped", system.error().line());
        return exit_code(require_kvm ? Outcome::kFailed : Outcome::kSkipped);
    }
    Outcome worst = Outcome::kPassed;
    for (const GuestTest& test : tests) {
        const bool named = std::ranges::any_of(
            names, [&](std::string_view name) { return name == "all" || name == test.name; });
        if (named) worst = std::max(worst, run(*system, test, require_kvm));
    }
    return exit_code(worst);
}

}  // namespace

}  // namespace ftvmm::guests

int main(int argc, char** argv) {
    std::vector<std::string_view> names(argv + 1, argv + argc);
    const bool require_kvm = std::erase(names, "--require-kvm") > 0;
    if (names.empty()) {
        fmt::print(stderr, "usage: guests [--require-kvm] all|NAME...\n");
        return 2;
    }
    return ftvmm::guests::run_named(names, require_kvm);
}
