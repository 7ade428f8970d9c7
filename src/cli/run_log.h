// The log of a run that is recorded.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "node/host_parts.h"
#include "node/log_thread.h"
#include "node/recording.h"
#include "node/vcpu_control.h"
#include "replay/log_format.h"

namespace ftvmm::cli {

// Empty until create(). Owned by the run.
struct RunLog {
    std::unique_ptr<node::LogThread> thread;
    std::optional<node::Recording> recording;
    std::string kernel_hash;
    std::string initrd_hash;

    // A log that can not go on ends the guest: it never runs on unrecorded. `control` outlives it.
    [[nodiscard]] Result<void> create(const std::string& path, const replay::LogHeader& header,
                                      node::VcpuControl& control);
    // All lives of one log begin with the same files.
    [[nodiscard]] Result<void> check(const node::BootFiles& files) const;
    [[nodiscard]] Result<void> finish();
};

}  // namespace ftvmm::cli
