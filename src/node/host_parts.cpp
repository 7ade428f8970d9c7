#include "node/host_parts.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "vmm/host/read_file.h"

namespace ftvmm::node {

namespace {

// Far more than any kernel or initrd has, and no more than a host can spare for a moment.
constexpr std::uint64_t kMaxBootFileBytes = std::uint64_t{1} << 30U;

Result<host::Tap> open_tap(const config::NicConfig& nic) {
    if (const auto* bridge = std::get_if<config::BridgeName>(&nic.plug)) {
        return host::Tap::create_on(bridge->name);
    }
    return host::Tap::open(std::get<config::TapName>(nic.plug).name);
}

}  // namespace

Result<HostParts> open_host_parts(const config::VmConfig& config) {
    HostParts parts;
    FTVMM_TRY(open_chains(config, host::DiskLock::kRequired, parts));
    FTVMM_TRY(make_engines(config, parts));
    FTVMM_ASSIGN(parts.taps, open_taps(config));
    return parts;
}

Result<void> open_chains(const config::VmConfig& config, host::DiskLock lock, HostParts& parts) {
    for (const auto& disk : config.disks) {
        const auto access =
            disk.read_only ? host::DiskAccess::kReadOnly : host::DiskAccess::kReadWrite;
        FTVMM_ASSIGN(auto chain, overlay::DiskChain::open({disk.path, access, lock}));
        parts.chains.push_back(std::move(chain));
    }
    return {};
}

Result<void> make_engines(const config::VmConfig& config, HostParts& parts) {
    for (std::size_t i = 0; i < parts.chains.size(); ++i) {
        FTVMM_ASSIGN(auto engine, parts.chains[i]->make_engine());
        parts.disks.push_back({config.disks[i].path, std::move(engine)});
    }
    return {};
}

Result<std::vector<host::Tap>> open_taps(const config::VmConfig& config) {
    std::vector<host::Tap> taps;
    for (const auto& nic : config.nics) {
        FTVMM_ASSIGN(auto tap, open_tap(nic));
        taps.push_back(std::move(tap));
    }
    return taps;
}

std::vector<DiskFacts> disk_facts(const HostParts& parts) {
    std::vector<DiskFacts> facts;
    for (const auto& chain : parts.chains)
        facts.push_back({chain->base().size(), chain->base().read_only()});
    return facts;
}

Result<std::vector<DiskFacts>> disk_facts(const config::VmConfig& config) {
    std::vector<DiskFacts> facts;
    for (const auto& disk : config.disks) {
        FTVMM_ASSIGN(const std::uint64_t bytes, host::disk_size(disk.path));
        facts.push_back({bytes, disk.read_only});
    }
    return facts;
}

machine::MachineConfig machine_config(const config::VmConfig& config,
                                      std::span<const DiskFacts> disks) {
    machine::MachineConfig machine;
    machine.memory_bytes = config.memory_bytes;
    machine.cpu_model =
        config.cpu_model == config::CpuModel::kV3 ? boot::CpuModel::kV3 : boot::CpuModel::kV2;
    FTVMM_CHECK(disks.size() == config.disks.size(), "there are facts of every disk");
    for (std::size_t i = 0; i < disks.size(); ++i) {
        machine.virtio.disks.push_back(
            {disks[i].bytes / virtio::kSectorBytes, disks[i].read_only, config.disks[i].serial});
    }
    for (const auto& nic : config.nics)
        machine.virtio.nics.push_back({nic.mac.bytes});
    return machine;
}

Result<BootFiles> read_boot_files(const config::VmConfig& config) {
    BootFiles files;
    FTVMM_ASSIGN(files.kernel, host::read_file(config.kernel, kMaxBootFileBytes));
    if (config.initrd) {
        FTVMM_ASSIGN(files.initrd, host::read_file(*config.initrd, kMaxBootFileBytes));
    }
    return files;
}

std::vector<std::byte> make_rng_seed() {
    std::vector<std::byte> seed(boot::kRngSeedBytes);
    SystemEntropy().fill(seed);
    return seed;
}

Result<std::unique_ptr<machine::KvmMachine>> power_on(const kvm::System& system,
                                                      const config::VmConfig& config,
                                                      const machine::MachineConfig& machine,
                                                      const BootFiles& files,
                                                      std::span<const std::byte> rng_seed) {
    machine::PowerOn start{files.kernel, files.initrd, config.cmdline, {}};
    FTVMM_CHECK(rng_seed.size() == start.rng_seed.size(), "the seed has its length");
    std::ranges::copy(rng_seed, start.rng_seed.begin());
    auto made = machine::KvmMachine::power_on(system, machine, start);
    if (!made) {
        return Failure(
            made.error().with_context("the VM cannot be started with kernel " + config.kernel));
    }
    return made;
}

}  // namespace ftvmm::node
