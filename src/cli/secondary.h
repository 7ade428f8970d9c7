// `ftvmm secondary`: this host keeps the Secondary of a VM that runs on another.
#pragma once

#include <string>
#include <vector>

#include "cli/run.h"

namespace ftvmm::cli {

struct SecondaryOptions {
    std::vector<std::string> connect;  // Where a Primary may listen; tried in turn.
    // How the VM runs here once it was taken over. Its link is where the next Secondary may come;
    // of that, certificate and peers are for both.
    RunOptions run;
};

// The exit codes, beside CLI11's own for a command line that makes no sense.
inline constexpr int kSecondaryEnded = 0;   // The guest shut down, and this followed it to its end.
inline constexpr int kSecondaryFailed = 1;  // It could not become one.
inline constexpr int kSecondaryStopped = 3;  // Its user stopped it.

// Follows the Primary until the guest ends or SIGTERM comes. A guest that has diverged is followed
// anew, and so is a Primary that is lost where this host does not take over. Where it does, it goes
// on as run(), exit code included.
int secondary(const SecondaryOptions& options);

}  // namespace ftvmm::cli
