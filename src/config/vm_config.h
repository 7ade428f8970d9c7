// One VM as its owner describes it in vm.toml (docs/vm-toml.md).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip_network.h"
#include "config/identity.h"

namespace ftvmm::config {

inline constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{64} << 30;
// A name is also a host name, and the name of files: one DNS label.
inline constexpr std::size_t kMaxNameLength = 63;
// The guest's kernel reads 2047 bytes; the rest is room for what ftvmm adds.
inline constexpr std::size_t kMaxCmdlineLength = 1792;
// A PCI bus has 32 slots: these, with the console, entropy and the host bridge, fit on one.
inline constexpr std::size_t kMaxDisks = 16;
inline constexpr std::size_t kMaxNics = 8;
// VIRTIO_BLK_ID_BYTES.
inline constexpr std::size_t kMaxSerialLength = 20;
// IFNAMSIZ less the final zero.
inline constexpr std::size_t kMaxInterfaceName = 15;
// Below, a busy host passes for a dead one; above, nobody would call the VM fault-tolerant.
inline constexpr std::chrono::milliseconds kMinDeadAfter{200};
inline constexpr std::chrono::milliseconds kMaxDeadAfter{60'000};
// More networks between two hosts are not built; with that of the link it is seven.
inline constexpr std::size_t kMaxPaths = 6;
// Below, storage that is slow for a moment stops the VM; above, a cold start takes for ever.
inline constexpr std::chrono::seconds kMinLease{5};
inline constexpr std::chrono::seconds kMaxLease{600};

// The explicit processor models: x86-64-v2, or x86-64-v3 with AVX2.
enum class CpuModel { kV2, kV3 };

struct DiskConfig {
    std::string path;
    bool read_only = false;
    std::string serial;  // What the guest finds under /dev/disk/by-id; empty for none.

    bool operator==(const DiskConfig&) const = default;
};

// ftvmm makes a tap of its own and plugs it into this bridge.
struct BridgeName {
    std::string name;
    bool operator==(const BridgeName&) const = default;
};
// An administrator made this tap.
struct TapName {
    std::string name;
    bool operator==(const TapName&) const = default;
};

struct NicConfig {
    MacAddress mac;
    std::variant<BridgeName, TapName> plug;

    bool operator==(const NicConfig&) const = default;
};

enum class ConsoleKind { kSerial, kVirtio };

struct ConsoleConfig {
    ConsoleKind kind = ConsoleKind::kSerial;
    std::optional<std::string> log;  // The file that also gets all output.

    bool operator==(const ConsoleConfig&) const = default;
};

// What a VM that runs on two hosts needs besides.
struct FtConfig {
    // The VM's own folder on storage that all its hosts see: who may run it (docs/generations.md).
    std::string shared;                         // Absolute: the same on every host.
    std::chrono::milliseconds dead_after{400};  // How long a silent peer lives.
    std::chrono::seconds lease{30};             // For how long an owner holds the VM.
    // Further networks on which the hosts tell each other that they live; the same on every host.
    std::vector<IpNetwork> paths{};
    // A command that ends a host which was lost and may still write; absolute.
    std::optional<std::string> fence{};

    bool operator==(const FtConfig&) const = default;
};

// Every value is valid by itself and beside the others; every path is ready for open(2). Whether
// the files and interfaces exist is found out when the VM starts, on the host where it does.
struct VmConfig {
    std::string name;
    Uuid uuid;
    std::uint64_t memory_bytes = 0;
    CpuModel cpu_model = CpuModel::kV2;
    std::string kernel;
    std::optional<std::string> initrd;
    std::string cmdline;
    std::vector<DiskConfig> disks;
    std::vector<NicConfig> nics;
    ConsoleConfig console;
    std::optional<FtConfig> ft;

    bool operator==(const VmConfig&) const = default;
};

// 1 to 63 of a-z, 0-9 and -.
[[nodiscard]] bool is_vm_name(std::string_view text);

// "512 MiB", "2 GiB" or "65536 KiB", the blank optional, in bytes; nothing for any other text, and
// for sizes that 64 bits do not hold.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace ftvmm::config
