// What the doctor found out about a host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ftvmm {

// The facts about a host that decide what it can do. Each has a name for people and one for JSON.
enum class Ability : std::uint8_t {
    // Proved by running a small guest.
    kPortIo,
    kImmediateExit,
    kSyncRegs,
    kInterrupts,
    kUserMode,
    kKernelSse,
    kFpuSwitch,
    kStraightCode,
    kSingleStep,
    kHardwareBreakpoints,
    kMsrExits,
    kDirtyLog,
    kDirtyRing,
    kTscControl,
    kBranchCounter,
};

struct AbilityName {
    Ability ability;
    const char* id;     // In JSON: "kernel_sse".
    const char* title;  // For people: "SSE in kernel mode".
};

// All of them, in the order of the report.
const std::vector<AbilityName>& ability_names();
const AbilityName& name_of(Ability ability);

struct Finding {
    Ability ability{};
    bool works = false;
    // What was seen, or why not; one line.
    std::string detail;
    // The figure behind it, where there is one (million instructions/s); else 0.
    double figure = 0;
};

// What KVM runs on here.
enum class KvmKind : std::uint8_t { kSvm, kVmx, kSoftware };

struct HostReport {
    KvmKind kvm = KvmKind::kSoftware;
    std::string kvm_detail;  // "kvm_amd, npt=1", "kvm_pvm".
    std::string kernel;      // As uname -r.
    std::string processor;   // As the processor calls itself.

    struct CapabilityValue {
        std::string name;
        std::string use;
        int value = 0;
    };
    std::vector<CapabilityValue> capabilities;

    std::vector<Finding> findings;
    std::optional<double> exit_us;  // A round trip to userspace, median; none if port I/O fails.

    // The finding for `ability`; every ability has one.
    [[nodiscard]] const Finding& finding(Ability ability) const;
};

}  // namespace ftvmm
