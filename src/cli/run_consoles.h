// Where a VM's consoles are seen and typed at, as the command line and vm.toml say.
#pragma once

#include <vector>

#include "base/result.h"
#include "cli/run.h"
#include "config/vm_config.h"
#include "node/io_thread.h"

namespace ftvmm::cli {

// An error names the log, socket or terminal that can not be used.
[[nodiscard]] Result<std::vector<node::NodeConsole>> open_consoles(const RunOptions& options,
                                                                   const config::VmConfig& config);

}  // namespace ftvmm::cli
