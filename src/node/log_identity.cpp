#include "node/log_identity.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string_view>

#include "replay/content_hash.h"
#include "vmm/host/wall_clock.h"

namespace ftvmm::node {

namespace {

// What of /proc/cpuinfo tells processors apart whose results may differ.
Result<std::string> host_cpu() {
    constexpr const char* kFile = "/proc/cpuinfo";
    std::ifstream lines(kFile);
    std::string cpu;
    for (std::string line; std::getline(lines, line) && !line.empty();) {
        const std::string_view name(line.data(), line.find_first_of("\t:"));
        if (name != "vendor_id" && name != "cpu family" && name != "model" && name != "stepping" &&
            name != "microcode") {
            continue;
        }
        const std::size_t colon = line.find(": ");
        if (colon == std::string::npos) continue;
        if (!cpu.empty()) cpu += ", ";
        cpu += fmt::format("{} {}", name, line.substr(colon + 2));
    }
    if (cpu.empty()) return fail(fmt::format("{} does not tell which processor this is", kFile));
    return cpu;
}

std::string hash_of_cpuid(std::span<const boot::CpuidLeaf> leaves) {
    std::string text;
    for (const auto& leaf : leaves) {
        text += fmt::format("{:x}.{:x}{} {:x} {:x} {:x} {:x}\n", leaf.function, leaf.index,
                            leaf.index_matters ? "i" : "", leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
    }
    return replay::content_hash(std::as_bytes(std::span(text)));
}

}  // namespace

Result<replay::LogHeader> log_header_of(const kvm::System& system, const config::VmConfig& config,
                                        const machine::MachineConfig& machine,
                                        const BootFiles& files, const std::string& config_file,
                                        const std::string& build) {
    replay::LogHeader header;
    header.build = build;
    header.vm_name = config.name;
    header.vm_uuid = config.uuid.text();
    header.config_file = std::filesystem::absolute(config_file).lexically_normal().string();
    header.memory_bytes = machine.memory_bytes;
    header.cpu_model = machine.cpu_model == boot::CpuModel::kV3 ? "v3" : "v2";
    FTVMM_ASSIGN(const auto cpuid, machine::guest_cpuid(system, machine.cpu_model));
    header.cpuid_hash = hash_of_cpuid(cpuid);
    FTVMM_ASSIGN(header.host_cpu, host_cpu());
    header.kernel_hash = replay::content_hash(files.kernel);
    if (!files.initrd.empty()) header.initrd_hash = replay::content_hash(files.initrd);
    header.command_line = config.cmdline;
    for (const auto& disk : machine.virtio.disks)
        header.disks.push_back({disk.sectors * virtio::kSectorBytes, disk.read_only, {}});
    for (const auto& nic : config.nics)
        header.macs.push_back(nic.mac.text());
    header.created_at = host::SystemWallClock().now();
    return header;
}

Result<std::string> cpu_identity_of(const kvm::System& system, boot::CpuModel model) {
    FTVMM_ASSIGN(const auto cpuid, machine::guest_cpuid(system, model));
    FTVMM_ASSIGN(const std::string cpu, host_cpu());
    constexpr std::size_t kEnough = 16;
    return fmt::format("{}, CPUID {}", cpu, hash_of_cpuid(cpuid).substr(0, kEnough));
}

}  // namespace ftvmm::node
