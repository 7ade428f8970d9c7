// What a VM needs of its host: opened from its configuration, and what the machine is made of.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "config/vm_config.h"
#include "node/disk_thread.h"
#include "vmm/host/tap.h"
#include "vmm/machine/kvm_machine.h"
#include "vmm/overlay/disk_chain.h"

namespace ftvmm::node {

// Disks are locked and taps plugged in for as long as this lives. The engines in `disks` work on
// `chains`, which therefore outlive whoever they are handed to.
struct HostParts {
    std::vector<std::unique_ptr<overlay::DiskChain>> chains;  // One for each disk.
    std::vector<NodeDisk> disks;
    std::vector<host::Tap> taps;
};

// For the VM's start. An error names the disk, bridge or tap and what is wrong with it.
[[nodiscard]] Result<HostParts> open_host_parts(const config::VmConfig& config);
// What it is made of, one after the other: `chains`, then `disks`; and `taps`.
[[nodiscard]] Result<void> open_chains(const config::VmConfig& config, host::DiskLock lock,
                                       HostParts& parts);
[[nodiscard]] Result<void> make_engines(const config::VmConfig& config, HostParts& parts);
[[nodiscard]] Result<std::vector<host::Tap>> open_taps(const config::VmConfig& config);

// What there is to know of a disk without opening it.
struct DiskFacts {
    std::uint64_t bytes = 0;
    bool read_only = false;
};
[[nodiscard]] std::vector<DiskFacts> disk_facts(const HostParts& parts);
// The same of disks that another host has open.
[[nodiscard]] Result<std::vector<DiskFacts>> disk_facts(const config::VmConfig& config);

// The machine that `config` describes, with disks of these facts: one for each of
// its own, in its order.
[[nodiscard]] machine::MachineConfig machine_config(const config::VmConfig& config,
                                                    std::span<const DiskFacts> disks);

// The kernel and initrd that the files hold now.
struct BootFiles {
    std::vector<std::byte> kernel;
    std::vector<std::byte> initrd;
};
[[nodiscard]] Result<BootFiles> read_boot_files(const config::VmConfig& config);

// What a guest is given at its power-on to make its random numbers of.
[[nodiscard]] std::vector<std::byte> make_rng_seed();
// A new machine. Requires a seed of boot::kRngSeedBytes.
[[nodiscard]] Result<std::unique_ptr<machine::KvmMachine>> power_on(
    const kvm::System& system, const config::VmConfig& config,
    const machine::MachineConfig& machine, const BootFiles& files,
    std::span<const std::byte> rng_seed);

}  // namespace ftvmm::node
