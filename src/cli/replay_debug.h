// `ftvmm replay --debug-port`: a debugger at a replay.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "node/debug_replay.h"

namespace ftvmm::cli {

// Waits at `where` for a debugger and does what it says until it leaves; how the replay had ended
// by then, if it had. Errors: DebugSocket's, DebugReplay's.
[[nodiscard]] Result<std::optional<node::ReplayCursor::How>> debug_replay(const std::string& where,
                                                                          node::DebugSource source);

}  // namespace ftvmm::cli
