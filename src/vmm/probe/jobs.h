// What a host can be used for, judged from its findings alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/probe/finding.h"

namespace ftvmm {

enum class Job : std::uint8_t { kSmallGuests, kLinuxGuest, kLockstep, kCountedLandmarks };

struct JobVerdict {
    Job job{};
    const char* id = "";     // In JSON: "linux_guest".
    const char* title = "";  // For people: "a Linux guest".
    bool possible = false;
    std::string why_not;     // Empty when possible.
    std::string what_to_do;  // Empty when possible.
};

// One verdict per job, in the order of the enum. Each job needs all that the one before it needs.
std::vector<JobVerdict> judge(const HostReport& report);

// Whether lockstep of a Linux guest is possible: the doctor's exit code.
bool lockstep_possible(const std::vector<JobVerdict>& verdicts);

}  // namespace ftvmm
