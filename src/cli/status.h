// `ftvmm status`: what the VMs of this host are doing.
#pragma once

#include <string>

namespace ftvmm::cli {

struct StatusOptions {
    std::string vm;  // Its name, or the path of its run's socket, told by its "/"; empty: all.
    bool json = false;
    bool watch = false;  // Again each second, and never back.
};

// Asks the runs themselves, and changes nothing. Returns 0 if all is told; 1 if there is no such VM
// here or its run does not answer, with a line on standard error; 2 if `vm` is neither a name nor a
// path.
int status(const StatusOptions& options);

}  // namespace ftvmm::cli
