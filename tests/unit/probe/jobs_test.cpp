#include "vmm/probe/jobs.h"

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

// A host on which everything works.
HostReport perfect_host() {
    HostReport report;
    report.kvm = KvmKind::kSvm;
    for (const AbilityName& name : ability_names()) {
        report.findings.push_back({name.ability, true, "seen"});
    }
    return report;
}

HostReport host_without(Ability ability) {
    HostReport report = perfect_host();
    for (Finding& finding : report.findings) {
        if (finding.ability == ability) finding = {ability, false, "not seen"};
    }
    return report;
}

bool possible(const HostReport& report, Job job) {
    return judge(report).at(static_cast<std::size_t>(job)).possible;
}

TEST_CASE("A host on which everything works can do every job") {
    for (const JobVerdict& verdict : judge(perfect_host())) {
        CHECK(verdict.possible);
        CHECK(verdict.why_not.empty());
    }
    CHECK(lockstep_possible(judge(perfect_host())));
}

TEST_CASE("Breakpoints are for counted landmarks alone") {
    const HostReport report = host_without(Ability::kHardwareBreakpoints);
    CHECK(lockstep_possible(judge(report)));
    CHECK_FALSE(possible(report, Job::kCountedLandmarks));
}

TEST_CASE("Without a PMU all is possible but counted landmarks, and nothing need be done") {
    const HostReport report = host_without(Ability::kBranchCounter);
    CHECK(possible(report, Job::kLockstep));
    CHECK(lockstep_possible(judge(report)));
    const JobVerdict counted = judge(report).back();
    CHECK_FALSE(counted.possible);
    CHECK(counted.why_not == "lacks exact branch counts (PMU)");
    CHECK_THAT(counted.what_to_do, Catch::Contains("checkpoint landmarks"));
}

TEST_CASE("Each ability that a Linux guest needs forbids it and lockstep, and is named") {
    for (const Ability ability :
         {Ability::kInterrupts, Ability::kUserMode, Ability::kKernelSse, Ability::kFpuSwitch,
          Ability::kMsrExits, Ability::kStraightCode}) {
        const HostReport report = host_without(ability);
        CHECK(possible(report, Job::kSmallGuests));
        CHECK_FALSE(possible(report, Job::kLinuxGuest));
        CHECK_FALSE(lockstep_possible(judge(report)));
        CHECK_THAT(judge(report).at(1).why_not, Catch::Contains(name_of(ability).title));
        CHECK(judge(report).at(2).why_not == "cannot do a Linux guest");
    }
}

TEST_CASE("Each ability that lockstep needs forbids it and leaves the Linux guest") {
    for (const Ability ability :
         {Ability::kImmediateExit, Ability::kSyncRegs, Ability::kSingleStep, Ability::kDirtyLog}) {
        const HostReport report = host_without(ability);
        CHECK(possible(report, Job::kLinuxGuest));
        CHECK_FALSE(lockstep_possible(judge(report)));
    }
}

TEST_CASE("TSC scaling and the dirty ring are welcome and not needed") {
    for (const Ability ability : {Ability::kTscControl, Ability::kDirtyRing}) {
        CHECK(lockstep_possible(judge(host_without(ability))));
    }
}

}  // namespace
}  // namespace ftvmm
