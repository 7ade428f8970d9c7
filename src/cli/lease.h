// `ftvmm lease`: who owns a VM, and who has owned it, as its shared folder says.
#pragma once

#include <string>

namespace ftvmm::cli {

struct LeaseOptions {
    std::string file;  // Its vm.toml.
    bool json = false;
};

// Neither changes anything, nor needs the VM to run. Each returns 0; 1 if something in the folder
// is damaged, with a line on standard error for each such file; 2 if it can not be told, with what
// is wrong.

// The newest generation, its owner, and who bids for the next one.
int lease_show(const LeaseOptions& options);
// Every generation.
int lease_history(const LeaseOptions& options);

}  // namespace ftvmm::cli
