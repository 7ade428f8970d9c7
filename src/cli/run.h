// `ftvmm run` and `ftvmm record`: a VM in the foreground, for itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ftvmm::cli {

struct RunOptions {
    std::string file;  // vm.toml
    std::string device = "/dev/kvm";
    bool headless = false;                     // Nothing on this terminal.
    std::vector<std::string> console_sockets;  // PATH, serial=PATH or virtio=PATH.
    std::uint32_t grace_s = 60;
    bool stats = false;
    std::string restore;  // A file that the VM goes on from, or empty.
    std::string save;     // Where SIGUSR2 suspends it to, or empty.
    std::string build;    // Of this program, for the log.
    std::string record;   // Where its log goes, or empty. Not with restore or save.
    bool trace = false;   // The log gets each exit with its registers.
    bool audit = false;   // The log gets a hash of the memory at each life's end.
};

// The exit codes, beside CLI11's own for a command line that makes no sense.
inline constexpr int kRunPoweredOff = 0;  // Or it was saved.
inline constexpr int kRunFailed = 1;      // It could not start, or reset itself over and over.
inline constexpr int kRunStopped = 3;     // Its power was taken before it had shut down.
inline constexpr int kRunCrashed = 4;     // The host's processor or KVM could not go on.

// Runs the VM until its end. SIGUSR1 prints statistics, on standard error; SIGUSR2 saves the VM,
// which is its end too.
int run(const RunOptions& options);

}  // namespace ftvmm::cli
