// What a log belongs to, so that it is replayed with what it was recorded with.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace ftvmm::replay {

// Hashes are hexadecimal digits, and their caller's affair: both sides use the same function.
struct LogHeader {
    struct Disk {
        std::uint64_t bytes = 0;
        bool read_only = false;
        std::string hash;  // Of what it held as the log began; empty: nobody looked.
        bool operator==(const Disk&) const = default;
    };

    std::string build;  // Of ftvmm: its version, and what tells two builds of it apart.
    std::string vm_name;
    std::string vm_uuid;
    std::string config_file;  // Its vm.toml, where it was recorded.
    std::uint64_t memory_bytes = 0;
    std::string cpu_model;     // As in vm.toml.
    std::string cpuid_hash;    // Of the CPUID leaves that the guest sees.
    std::string host_cpu;      // What must be equal on both hosts: family, model, microcode.
    std::string kernel_hash;   // Of the files.
    std::string initrd_hash;   // Empty: there is none.
    std::string command_line;  // The user's part.
    std::vector<Disk> disks;
    std::vector<std::string> macs;
    std::chrono::sys_time<std::chrono::nanoseconds> created_at;
    std::string state_hash;  // Of the state file that it goes on from; empty: it begins with a
                             // power-on.
    bool operator==(const LogHeader&) const = default;
};

// All of it but blobs of a few dozen bytes; bounds what any bytes can make a reader allocate.
inline constexpr std::size_t kMaxLogHeaderBytes = std::size_t{1} << 20U;

// The start of a log file. An error where a text in it is beyond all measure.
[[nodiscard]] Result<std::vector<std::byte>> encode_log_header(const LogHeader& header);

// A reader takes these bytes first; they tell how many there are in all.
inline constexpr std::size_t kLogHeaderPrefixBytes = 16;
[[nodiscard]] Result<std::size_t> log_header_bytes(
    std::span<const std::byte, kLogHeaderPrefixBytes> prefix);
// Of exactly these bytes, the prefix among them.
[[nodiscard]] Result<LogHeader> decode_log_header(std::span<const std::byte> bytes);

// Why a log of `recorded` can not be replayed by a run of `here`: what differs, both values and
// what to do; nothing if it can. The VM's name, where its vm.toml is and the time of creation may
// differ, and a disk that was hashed on one side only is taken for the same.
[[nodiscard]] std::optional<Error> mismatch(const LogHeader& recorded, const LogHeader& here);

}  // namespace ftvmm::replay
