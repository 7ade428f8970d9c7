#include "replay/log_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <proto/log.pb.h>
#include <xxhash.h>

#include <algorithm>

#include "replay/log_bytes.h"

namespace ftvmm::replay {

namespace {

// "FTVMMLOG".
constexpr std::uint64_t kMagic = 0x474f'4c4d'4d56'5446;
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kChecksumBytes = 8;

constexpr const char* kDamaged = "use a copy of it, if there is one";

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

log::Header to_message(const LogHeader& header) {
    log::Header message;
    message.set_build(header.build);
    message.set_vm_name(header.vm_name);
    message.set_vm_uuid(header.vm_uuid);
    message.set_config_file(header.config_file);
    message.set_memory_bytes(header.memory_bytes);
    message.set_cpu_model(header.cpu_model);
    message.set_cpuid_hash(header.cpuid_hash);
    message.set_host_cpu(header.host_cpu);
    message.set_kernel_hash(header.kernel_hash);
    message.set_initrd_hash(header.initrd_hash);
    message.set_command_line(header.command_line);
    for (const LogHeader::Disk& disk : header.disks) {
        auto& out = *message.add_disks();
        out.set_bytes(disk.bytes);
        out.set_read_only(disk.read_only);
        out.set_hash(disk.hash);
    }
    for (const std::string& mac : header.macs)
        message.add_macs(mac);
    message.set_created_at_ns(header.created_at.time_since_epoch().count());
    message.set_state_hash(header.state_hash);
    return message;
}

LogHeader from_message(const log::Header& message) {
    LogHeader header;
    header.build = message.build();
    header.vm_name = message.vm_name();
    header.vm_uuid = message.vm_uuid();
    header.config_file = message.config_file();
    header.memory_bytes = message.memory_bytes();
    header.cpu_model = message.cpu_model();
    header.cpuid_hash = message.cpuid_hash();
    header.host_cpu = message.host_cpu();
    header.kernel_hash = message.kernel_hash();
    header.initrd_hash = message.initrd_hash();
    header.command_line = message.command_line();
    for (const auto& disk : message.disks())
        header.disks.push_back({disk.bytes(), disk.read_only(), disk.hash()});
    header.macs.assign(message.macs().begin(), message.macs().end());
    header.created_at = std::chrono::sys_time<std::chrono::nanoseconds>(
        std::chrono::nanoseconds(message.created_at_ns()));
    header.state_hash = message.state_hash();
    return header;
}

std::string or_none(const std::string& text) {
    return text.empty() ? "none" : text;
}

// One thing that must be the same, and what to do where it is not.
struct Compared {
    const char* what;
    std::string recorded;
    std::string here;
    const char* advice;
};

std::string describe(const std::vector<LogHeader::Disk>& disks) {
    std::vector<std::string> texts;
    texts.reserve(disks.size());
    for (const LogHeader::Disk& disk : disks)
        texts.push_back(fmt::format("{} bytes{}", disk.bytes, disk.read_only ? " read-only" : ""));
    return or_none(fmt::format("{}", fmt::join(texts, ", ")));
}

std::vector<Compared> all_compared(const LogHeader& recorded, const LogHeader& here) {
    constexpr const char* kSameVm = "give the vm.toml that it was recorded with";
    constexpr const char* kSameHost = "replay it on a host with that processor and kernel";
    constexpr const char* kSameFile = "give the file that it was recorded with";
    return {
        {"the VM's uuid", recorded.vm_uuid, here.vm_uuid, kSameVm},
        {"the build of ftvmm", recorded.build, here.build,
         "replay it with the ftvmm that wrote it"},
        {"the memory", fmt::format("{} bytes", recorded.memory_bytes),
         fmt::format("{} bytes", here.memory_bytes), kSameVm},
        {"the CPU model", recorded.cpu_model, here.cpu_model, kSameVm},
        {"the host's processor", recorded.host_cpu, here.host_cpu, kSameHost},
        {"the CPUID that the guest sees", recorded.cpuid_hash, here.cpuid_hash, kSameHost},
        {"the kernel", recorded.kernel_hash, here.kernel_hash, kSameFile},
        {"the initrd", or_none(recorded.initrd_hash), or_none(here.initrd_hash), kSameFile},
        {"the kernel's command line", recorded.command_line, here.command_line, kSameVm},
        {"the list of disks", describe(recorded.disks), describe(here.disks), kSameVm},
        {"the list of network cards", or_none(fmt::format("{}", fmt::join(recorded.macs, ", "))),
         or_none(fmt::format("{}", fmt::join(here.macs, ", "))), kSameVm},
        {"the state file", or_none(recorded.state_hash), or_none(here.state_hash),
         recorded.state_hash.empty() ? "replay it from the power-on, as it was recorded"
                                     : "restore the state file that it goes on from"},
    };
}

}  // namespace

Result<std::vector<std::byte>> encode_log_header(const LogHeader& header) {
    const std::string message = to_message(header).SerializeAsString();
    ByteWriter writer;
    writer.fixed(kMagic);
    writer.fixed(kVersion);
    writer.fixed(static_cast<std::uint32_t>(message.size()));
    writer.raw(std::as_bytes(std::span(message)));
    writer.fixed(checksum_of(writer.bytes()));
    if (writer.size() > kMaxLogHeaderBytes) {
        return fail(fmt::format("what describes the VM takes {} bytes, and a log holds {}",
                                writer.size(), kMaxLogHeaderBytes));
    }
    return writer.take();
}

Result<std::size_t> log_header_bytes(std::span<const std::byte, kLogHeaderPrefixBytes> prefix) {
    ByteReader reader(prefix);
    if (reader.fixed<std::uint64_t>() != kMagic) {
        return fail("it is no log of a VM", "give a file that ftvmm recorded a VM to");
    }
    if (const auto version = reader.fixed<std::uint32_t>(); version != kVersion) {
        return fail(fmt::format("its format is version {}, and this ftvmm reads version {}",
                                version, kVersion),
                    "use the ftvmm that wrote it");
    }
    const std::size_t bytes =
        kLogHeaderPrefixBytes + std::size_t{reader.fixed<std::uint32_t>()} + kChecksumBytes;
    if (bytes > kMaxLogHeaderBytes) return fail("its header is damaged", kDamaged);
    return bytes;
}

Result<LogHeader> decode_log_header(std::span<const std::byte> bytes) {
    if (bytes.size() < kLogHeaderPrefixBytes) return fail("it ends in its header", kDamaged);
    FTVMM_ASSIGN(const std::size_t wanted, log_header_bytes(bytes.first<kLogHeaderPrefixBytes>()));
    if (bytes.size() < wanted) return fail("it ends in its header", kDamaged);
    const auto checked = bytes.first(wanted - kChecksumBytes);
    if (ByteReader(bytes.subspan(checked.size())).fixed<std::uint64_t>() != checksum_of(checked)) {
        return fail("the checksum of its header is wrong", kDamaged);
    }
    const auto body = checked.subspan(kLogHeaderPrefixBytes);
    log::Header message;
    if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return fail("its header is none that ftvmm writes", kDamaged);
    }
    return from_message(message);
}

std::optional<Error> mismatch(const LogHeader& recorded, const LogHeader& here) {
    for (const Compared& compared : all_compared(recorded, here)) {
        if (compared.recorded == compared.here) continue;
        return Error(fmt::format("{} differs from when the log was recorded: {} then, {} now",
                                 compared.what, compared.recorded, compared.here),
                     compared.advice);
    }
    for (std::size_t i = 0; i < recorded.disks.size(); ++i) {
        const std::string& then = recorded.disks[i].hash;
        const std::string& now = here.disks[i].hash;
        if (then.empty() || now.empty() || then == now) continue;
        return Error(fmt::format("disk {} does not hold what it held when the recording began: its "
                                 "hash was {} and is {}",
                                 i, then, now),
                     "give a copy of the disk from before that");
    }
    return std::nullopt;
}

}  // namespace ftvmm::replay
