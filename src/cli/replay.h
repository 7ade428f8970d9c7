// `ftvmm replay`: a log carried out again, and held against what it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ftvmm::cli {

struct ReplayOptions {
    std::string log;
    std::string config;  // The vm.toml; empty: the one that the log names.
    std::string device = "/dev/kvm";
    std::string build;                 // Of this program.
    std::optional<std::string> until;  // A record's number, or a guest time as "12.5s".
    bool console = false;              // Print what the guest printed.
    std::string console_port;          // "serial" or "virtio", there alone; empty: at both.
    bool compare_audits = true;        // Hashes of the memory that the log holds.
    bool hash_memory = false;          // At the end.
    std::string memory;  // What to compare the memory with at the end; empty: nothing.
    std::string report;  // A file for what is told of a divergence; empty: none.
    // A port or a path for a debugger that moves the replay.
    std::optional<std::string> debug_port;
};

// The exit codes, beside CLI11's own for a command line that makes no sense.
inline constexpr int kReplayAgreed = 0;    // To the log's end, or as far as was asked for.
inline constexpr int kReplayFailed = 1;    // It could not be carried out.
inline constexpr int kReplayCut = 3;       // It agreed, and the log ends before the VM did.
inline constexpr int kReplayDiverged = 5;  // The guest came another way than the log says.

int replay_log(const ReplayOptions& options);

}  // namespace ftvmm::cli
