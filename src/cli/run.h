// `ftvmm run` and `ftvmm record`: a VM in the foreground, for itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/pair_link.h"
#include "cli/status_board.h"
#include "config/vm_config.h"
#include "lock/ownership_driver.h"
#include "node/taps_ahead.h"
#include "pair/secondary.h"
#include "vmm/kvm/system.h"

namespace ftvmm::cli {

struct RunOptions {
    std::string file;  // vm.toml
    std::string device = "/dev/kvm";
    bool headless = false;                     // Nothing on this terminal.
    std::vector<std::string> console_sockets;  // PATH, serial=PATH or virtio=PATH.
    std::uint32_t grace_s = 60;
    bool stats = false;
    std::string control;  // Where ftvmm status asks; empty: at the usual place, if it can be had.
    std::string restore;  // A file that the VM goes on from, or empty.
    std::string save;     // Where SIGUSR2 suspends it to, or empty.
    std::string build;    // Of this program, for the log.
    PairLink link;        // Where a Secondary may come, if its address is not empty.
    std::string record;   // Where its log goes, or empty. Not with restore or save.
    bool trace = false;   // The log gets each exit with its registers.
    bool audit = false;   // The log gets a hash of the memory at each life's end.
    std::string memory;   // A file for the memory at the last life's end, or empty.
};

// The exit codes, beside CLI11's own for a command line that makes no sense.
inline constexpr int kRunPoweredOff = 0;  // Or it was saved.
inline constexpr int kRunFailed = 1;      // It could not start, or reset itself over and over.
inline constexpr int kRunStopped = 3;     // Its power was taken before it had shut down.
inline constexpr int kRunCrashed = 4;     // The host's processor or KVM could not go on.
inline constexpr int kRunSuperseded = 5;  // Another host owns the VM, and runs it.

// Runs the VM until its end. SIGUSR1 prints statistics, on standard error; SIGUSR2 saves the VM,
// which is its end too.
int run(const RunOptions& options);

// What a host that takes a VM over goes on with.
struct Succession {
    const kvm::System& system;
    StatusBoard& board;
    std::unique_ptr<lock::Ownership> ownership;
    pair::TakenOver taken;
    // Made ready by then: what listens for a Secondary, if anything is to, and the taps.
    std::optional<ftlink::LinkOptions> link;
    std::unique_ptr<node::TapsAhead> taps;
};
// As run(), but that the VM goes on.
int go_on(const RunOptions& options, const config::VmConfig& config, Succession succession);

}  // namespace ftvmm::cli
