#include "vmm/probe/jobs.h"

#include <algorithm>
#include <span>

namespace ftvmm {

namespace {

struct JobNeeds {
    Job job;
    const char* id;
    const char* title;
    std::vector<Ability> needs;  // In addition to those of the jobs before it.
    std::string what_to_do;
};

const char* advice_for(KvmKind kvm) {
    return kvm == KvmKind::kSoftware
               ? "use a host whose processor's virtualisation KVM can reach (kvm_amd or kvm_intel)"
               : "run a stock Linux kernel of 5.10 or later on this host";
}

std::vector<JobNeeds> jobs_of(KvmKind kvm) {
    const char* advice = advice_for(kvm);
    return {
        {Job::kSmallGuests, "small_guests", "small guests", {Ability::kPortIo}, advice},
        {Job::kLinuxGuest,
         "linux_guest",
         "a Linux guest",
         {Ability::kInterrupts, Ability::kUserMode, Ability::kKernelSse, Ability::kFpuSwitch,
          Ability::kMsrExits, Ability::kStraightCode},
         advice},
        {Job::kLockstep,
         "lockstep",
         "lockstep",
         {Ability::kImmediateExit, Ability::kSyncRegs, Ability::kSingleStep, Ability::kDirtyLog},
         advice},
        {Job::kCountedLandmarks,
         "counted_landmarks",
         "counted landmarks",
         {Ability::kHardwareBreakpoints, Ability::kBranchCounter},
         "nothing: lockstep uses checkpoint landmarks here. For counted ones, use hardware whose "
         "PMU "
         "this kernel may use (kernel.perf_event_paranoid)"},
    };
}

// The titles of what is missing; the report has the details beside each.
std::string missing_of(const HostReport& report, std::span<const Ability> needs) {
    std::string missing;
    for (const Ability ability : needs) {
        if (report.finding(ability).works) continue;
        missing += missing.empty() ? "lacks " : ", ";
        missing += name_of(ability).title;
    }
    return missing;
}

}  // namespace

std::vector<JobVerdict> judge(const HostReport& report) {
    std::vector<JobVerdict> verdicts;
    for (const JobNeeds& job : jobs_of(report.kvm)) {
        std::string why_not = missing_of(report, job.needs);
        if (!verdicts.empty() && !verdicts.back().possible) {
            std::string before = std::string("cannot do ") + verdicts.back().title;
            if (!why_not.empty()) before += "; " + why_not;
            why_not = std::move(before);
        }
        const bool possible = why_not.empty();
        verdicts.push_back({job.job, job.id, job.title, possible, std::move(why_not),
                            possible ? std::string() : job.what_to_do});
    }
    return verdicts;
}

bool lockstep_possible(const std::vector<JobVerdict>& verdicts) {
    return std::ranges::any_of(verdicts, [](const JobVerdict& verdict) {
        return verdict.job == Job::kLockstep && verdict.possible;
    });
}

}  // namespace ftvmm
