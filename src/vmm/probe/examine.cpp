#include "vmm/probe/examine.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "vmm/kvm/capabilities.h"
#include "vmm/probe/measure.h"
#include "vmm/probe/proofs.h"

namespace ftvmm {

namespace {

std::string first_line(const std::filesystem::path& file) {
    std::ifstream stream(file);
    std::string line;
    std::getline(stream, line);
    return line;
}

// A module parameter of KVM's that is a switch, as "npt=1"; empty where there is none.
std::string switch_of(const std::string& module, const std::string& parameter) {
    const std::string value = first_line("/sys/module/" + module + "/parameters/" + parameter);
    if (value.empty()) return {};
    return fmt::format(", {}={}", parameter, value == "Y" || value == "1" ? 1 : 0);
}

// The first processor's value of `key` in /proc/cpuinfo, with a space before it; empty if missing.
std::string cpuinfo_field(const std::string& key) {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        const auto colon = line.find(':');
        if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 1);
    }
    return {};
}

bool is_loaded(const char* module) {
    std::error_code ignored;
    return std::filesystem::exists(std::filesystem::path("/sys/module") / module, ignored);
}

void identify_kvm(HostReport& report) {
    // A kernel with both built in has both folders on any processor: its flags decide.
    const std::string flags = cpuinfo_field("flags") + " ";
    if (is_loaded("kvm_pvm")) {
        report.kvm = KvmKind::kSoftware;
        report.kvm_detail = "kvm_pvm";
    } else if (flags.find(" svm ") != std::string::npos && is_loaded("kvm_amd")) {
        report.kvm = KvmKind::kSvm;
        report.kvm_detail = "kvm_amd" + switch_of("kvm_amd", "npt");
    } else if (flags.find(" vmx ") != std::string::npos && is_loaded("kvm_intel")) {
        report.kvm = KvmKind::kVmx;
        report.kvm_detail = "kvm_intel" + switch_of("kvm_intel", "ept");
    } else {
        report.kvm = KvmKind::kSoftware;
        report.kvm_detail = "neither kvm_amd nor kvm_intel is in sight";
    }
}

Result<void> list_capabilities(HostReport& report, const kvm::System& system) {
    FTVMM_ASSIGN(const kvm::Capabilities capabilities, kvm::Capabilities::probe(system));
    for (const kvm::Capability& capability : kvm::kCapabilities) {
        report.capabilities.push_back(
            {capability.name, capability.use, capabilities.value(capability.id)});
    }
    return {};
}

// Below this a kernel's boot takes minutes: what emulates every instruction is far below, a nested
// or emulated host that runs translated code is far above.
constexpr double kLeastMillionInstructionsPerS = 10;

Finding judge_speed(const Result<double>& million_per_s) {
    if (!million_per_s) return {Ability::kStraightCode, false, million_per_s.error().what()};
    const bool fast = *million_per_s >= kLeastMillionInstructionsPerS;
    std::string detail = fmt::format("{:.1f} million instructions/s", *million_per_s);
    if (!fast) {
        detail += fmt::format(": emulated one by one, a Linux guest needs {:.0f} or more",
                              kLeastMillionInstructionsPerS);
    }
    return {Ability::kStraightCode, fast, detail, *million_per_s};
}

using ProofFunction = Result<std::string> (*)(const kvm::System&);

ProofFunction proof_of(Ability ability) {
    switch (ability) {
        case Ability::kPortIo:
            return proofs::port_io;
        case Ability::kImmediateExit:
            return proofs::immediate_exit;
        case Ability::kSyncRegs:
            return proofs::sync_regs;
        case Ability::kInterrupts:
            return proofs::interrupts;
        case Ability::kUserMode:
            return proofs::user_mode;
        case Ability::kKernelSse:
            return proofs::kernel_sse;
        case Ability::kFpuSwitch:
            return proofs::fpu_switch;
        case Ability::kSingleStep:
            return proofs::single_step;
        case Ability::kHardwareBreakpoints:
            return proofs::hardware_breakpoints;
        case Ability::kMsrExits:
            return proofs::msr_exits;
        case Ability::kDirtyLog:
            return proofs::dirty_log;
        case Ability::kDirtyRing:
            return proofs::dirty_ring;
        case Ability::kTscControl:
            return proofs::tsc_control;
        case Ability::kBranchCounter:
            return proofs::branch_counter;
        case Ability::kStraightCode:
            break;  // Measured, not proved.
    }
    return nullptr;
}

// The capabilities that a proof asks KVM for; without one its failure would have no name.
std::vector<int> capabilities_of(Ability ability) {
    switch (ability) {
        case Ability::kPortIo:
            return {KVM_CAP_USER_MEMORY, KVM_CAP_SET_TSS_ADDR, KVM_CAP_EXT_CPUID};
        case Ability::kImmediateExit:
            return {KVM_CAP_IMMEDIATE_EXIT};
        case Ability::kSyncRegs:
            return {KVM_CAP_SYNC_REGS};
        case Ability::kSingleStep:
        case Ability::kHardwareBreakpoints:
            return {KVM_CAP_SET_GUEST_DEBUG};
        case Ability::kMsrExits:
            return {KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER};
        case Ability::kDirtyLog:
            return {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2};
        case Ability::kDirtyRing:
            return {KVM_CAP_DIRTY_LOG_RING};
        case Ability::kTscControl:
            return {KVM_CAP_TSC_CONTROL};
        default:
            return {};
    }
}

Result<std::string> prove_with_capabilities(const kvm::System& system, Ability ability) {
    FTVMM_ASSIGN(const auto capabilities, kvm::Capabilities::probe(system));
    FTVMM_TRY(capabilities.require(capabilities_of(ability)));
    return proof_of(ability)(system);
}

}  // namespace

Finding prove(const kvm::System& system, Ability ability) {
    if (ability == Ability::kStraightCode) {
        return judge_speed(measure_million_instructions_per_s(system, SystemClock()));
    }
    const Result<std::string> seen = prove_with_capabilities(system, ability);
    return {ability, seen.has_value(), seen ? *seen : seen.error().what()};
}

Result<HostReport> examine_host(const kvm::System& system,
                                const std::function<void(std::string_view)>& progress) {
    HostReport report;
    identify_kvm(report);
    utsname name{};
    if (::uname(&name) == 0) report.kernel = static_cast<const char*>(name.release);
    const std::string processor = cpuinfo_field("model name");
    report.processor = processor.empty() ? "unknown" : processor.substr(1);
    FTVMM_TRY(list_capabilities(report, system));

    progress("the length of an exit");
    const auto exit_us = measure_exit_us(system, SystemClock());
    if (exit_us) report.exit_us = *exit_us;
    for (const AbilityName& name_of_ability : ability_names()) {
        progress(name_of_ability.title);
        report.findings.push_back(prove(system, name_of_ability.ability));
    }
    return report;
}

}  // namespace ftvmm
