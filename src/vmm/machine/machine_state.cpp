#include "vmm/machine/machine_state.h"

#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

namespace {

pb::Configuration encode(const MachineConfig& config, const std::string& identity) {
    pb::Configuration to;
    to.set_memory_bytes(config.memory_bytes);
    to.set_cpu_model(config.cpu_model == boot::CpuModel::kV3 ? pb::Configuration::V3
                                                             : pb::Configuration::V2);
    for (const auto& disk : config.virtio.disks) {
        auto& each = *to.add_disks();
        each.set_sectors(disk.sectors);
        each.set_read_only(disk.read_only);
        each.set_id(disk.id);
    }
    for (const auto& nic : config.virtio.nics)
        to.add_macs(to_string(std::as_bytes(std::span(nic.mac))));
    to.set_identity(identity);
    return to;
}

MachineConfig decode(Decoder& in, const pb::Configuration& from) {
    const bool is_v3 = from.cpu_model() == pb::Configuration::V3;
    in.require(is_v3 || from.cpu_model() == pb::Configuration::V2, "CPU model");
    in.require(static_cast<std::size_t>(from.disks_size()) <= kMaxDisks, "number of disks");
    in.require(static_cast<std::size_t>(from.macs_size()) <= kMaxNics, "number of network cards");
    MachineConfig config;
    config.memory_bytes = from.memory_bytes();
    config.cpu_model = is_v3 ? boot::CpuModel::kV3 : boot::CpuModel::kV2;
    for (const auto& disk : from.disks())
        config.virtio.disks.push_back({disk.sectors(), disk.read_only(), disk.id()});
    for (const auto& mac : from.macs())
        config.virtio.nics.push_back({in.bytes<std::array<std::uint8_t, 6>>(mac, "MAC address")});
    return config;
}

pb::CpuidLeaf encode(const boot::CpuidLeaf& leaf) {
    pb::CpuidLeaf to;
    to.set_function(leaf.function);
    to.set_index(leaf.index);
    to.set_index_matters(leaf.index_matters);
    to.set_eax(leaf.eax);
    to.set_ebx(leaf.ebx);
    to.set_ecx(leaf.ecx);
    to.set_edx(leaf.edx);
    return to;
}

boot::CpuidLeaf decode(const pb::CpuidLeaf& from) {
    return {.function = from.function(),
            .index = from.index(),
            .index_matters = from.index_matters(),
            .eax = from.eax(),
            .ebx = from.ebx(),
            .ecx = from.ecx(),
            .edx = from.edx()};
}

constexpr const char* kDifferentMachine =
    "restore it with the configuration that the VM had when it was saved, or start the VM anew";

Failure differs(const std::string& what) {
    return fail("the state is of a machine with " + what, kDifferentMachine);
}

Result<void> check_same_disks(const VirtioConfig& saved, const VirtioConfig& config) {
    if (saved.disks.size() != config.disks.size()) {
        return differs(
            fmt::format("{} disks, and this one has {}", saved.disks.size(), config.disks.size()));
    }
    for (std::size_t i = 0; i < config.disks.size(); ++i) {
        const auto& was = saved.disks[i];
        const auto& is = config.disks[i];
        if (was.sectors != is.sectors) {
            return differs(fmt::format("{} sectors on disk {}, and this one has {}", was.sectors, i,
                                       is.sectors));
        }
        if (was.read_only != is.read_only || was.id != is.id) {
            return differs(
                fmt::format("another disk {} (its name \"{}\" or whether it is read "
                            "only)",
                            i, was.id));
        }
    }
    return {};
}

Result<void> check_same_nics(const VirtioConfig& saved, const VirtioConfig& config) {
    if (saved.nics.size() != config.nics.size()) {
        return differs(fmt::format("{} network cards, and this one has {}", saved.nics.size(),
                                   config.nics.size()));
    }
    for (std::size_t i = 0; i < config.nics.size(); ++i) {
        if (saved.nics[i].mac != config.nics[i].mac) {
            return differs(fmt::format("another MAC address on network card {}", i));
        }
    }
    return {};
}

}  // namespace

Result<EncodedState> encode_state(const MachineState& state) {
    Encoder out;
    pb::MachineState to;
    *to.mutable_configuration() = encode(state.config, state.identity);
    for (const auto& leaf : state.machine.cpuid)
        *to.add_cpuid() = encode(leaf);
    *to.mutable_cpu() = encode(state.machine.cpu);
    *to.mutable_platform() = encode(out, state.machine.platform);
    to.set_exits(state.machine.exits);
    to.set_digest(state.machine.digest);
    to.set_given_digest(state.machine.given_digest);
    to.set_halted(state.machine.halted);
    to.set_checkpoints(state.machine.checkpoints);
    EncodedState encoded{to.SerializeAsString(), out.take_bulk()};
    if (encoded.message.size() > kMaxMessageBytes || encoded.bulk.size() > kMaxBulkBytes) {
        return fail(fmt::format("the guest's devices have too much under way to save it ({} MiB)",
                                (encoded.message.size() + encoded.bulk.size()) >> 20U),
                    "let its disks finish some of it, then save again");
    }
    return encoded;
}

Result<MachineState> decode_state(std::string_view message, std::span<const std::byte> bulk) {
    pb::MachineState from;
    if (message.size() > kMaxMessageBytes ||
        !from.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return fail("it is no message of a machine's state");
    }
    Decoder in(bulk);
    in.require(from.has_configuration() && from.has_cpu() && from.has_platform(), "machine");
    MachineState state;
    state.config = decode(in, from.configuration());
    state.identity = from.configuration().identity();
    for (const auto& leaf : from.cpuid())
        state.machine.cpuid.push_back(decode(leaf));
    state.machine.cpu = decode(in, from.cpu());
    state.machine.platform = decode(in, from.platform());
    state.machine.exits = from.exits();
    state.machine.digest = from.digest();
    state.machine.given_digest = from.given_digest();
    state.machine.halted = from.halted();
    state.machine.checkpoints = from.checkpoints();
    FTVMM_TRY(in.result());
    return state;
}

Result<void> check_same_machine(const MachineState& saved, const MachineConfig& config,
                                std::string_view identity) {
    if (!identity.empty() && !saved.identity.empty() && identity != saved.identity) {
        return fail(
            fmt::format("the state is of the VM {}, and this one is {}", saved.identity, identity),
            "give this VM's own state file");
    }
    if (saved.config.memory_bytes != config.memory_bytes) {
        return differs(fmt::format("{} MiB of memory, and this one has {}",
                                   saved.config.memory_bytes >> 20U, config.memory_bytes >> 20U));
    }
    if (saved.config.cpu_model != config.cpu_model) return differs("another CPU model");
    FTVMM_TRY(check_same_disks(saved.config.virtio, config.virtio));
    return check_same_nics(saved.config.virtio, config.virtio);
}

}  // namespace ftvmm::machine
