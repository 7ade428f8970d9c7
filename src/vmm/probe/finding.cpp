#include "vmm/probe/finding.h"

#include <algorithm>

#include "base/check.h"

namespace ftvmm {

const std::vector<AbilityName>& ability_names() {
    static const std::vector<AbilityName> names{
        {Ability::kPortIo, "port_io", "port I/O and HLT"},
        {Ability::kImmediateExit, "immediate_exit", "completing an exit (immediate_exit)"},
        {Ability::kSyncRegs, "sync_regs", "registers with each exit (SYNC_REGS)"},
        {Ability::kInterrupts, "interrupts", "interrupt windows and delivery"},
        {Ability::kUserMode, "user_mode", "ring 3 and page faults"},
        {Ability::kKernelSse, "kernel_sse", "SSE in kernel mode"},
        {Ability::kFpuSwitch, "fpu_switch", "FXSAVE and FXRSTOR in kernel mode"},
        {Ability::kStraightCode, "straight_code", "straight code at speed"},
        {Ability::kSingleStep, "single_step", "single-step"},
        {Ability::kHardwareBreakpoints, "hardware_breakpoints", "hardware breakpoints"},
        {Ability::kMsrExits, "msr_exits", "MSR exits and filter"},
        {Ability::kDirtyLog, "dirty_log", "dirty log"},
        {Ability::kDirtyRing, "dirty_ring", "dirty ring"},
        {Ability::kTscControl, "tsc_control", "TSC scaling"},
        {Ability::kBranchCounter, "branch_counter", "exact branch counts (PMU)"},
    };
    return names;
}

const AbilityName& name_of(Ability ability) {
    const auto found = std::ranges::find(ability_names(), ability, &AbilityName::ability);
    FTVMM_CHECK(found != ability_names().end(), "every ability has a name");
    return *found;
}

const Finding& HostReport::finding(Ability ability) const {
    const auto found = std::ranges::find(findings, ability, &Finding::ability);
    FTVMM_CHECK(found != findings.end(), "a report has a finding for every ability");
    return *found;
}

}  // namespace ftvmm
