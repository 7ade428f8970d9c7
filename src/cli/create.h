// `ftvmm create`: the vm.toml of a new VM.
#pragma once

#include <string>

#include "base/random.h"
#include "base/result.h"

namespace ftvmm::cli {

struct CreateOptions {
    std::string name;
    std::string dir = ".";
};

// Writes DIR/NAME.toml with a uuid and a mac from `entropy` and returns its path. A file that is
// there already is left as it is, and is an error.
Result<std::string> create_config(const CreateOptions& options, Entropy& entropy);

// Returns 0 and says where the file is and what to do next, or 1 with one line on standard error.
int create(const CreateOptions& options);

}  // namespace ftvmm::cli
