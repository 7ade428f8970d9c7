// A VM's taps, made while something else is waited for.
#pragma once

#include <optional>
#include <thread>
#include <vector>

#include "base/result.h"
#include "config/vm_config.h"
#include "vmm/host/tap.h"

namespace ftvmm::node {

// A kernel takes its time to plug one in. They go away with this, unless they were taken: until
// then nobody reads from them or writes to them.
class TapsAhead {
  public:
    // `config` outlives it.
    explicit TapsAhead(const config::VmConfig& config);
    TapsAhead(const TapsAhead&) = delete;
    TapsAhead& operator=(const TapsAhead&) = delete;
    ~TapsAhead();

    // Waits for them; once. Errors as of open_taps().
    [[nodiscard]] Result<std::vector<host::Tap>> take();

  private:
    std::optional<Result<std::vector<host::Tap>>> taps_;  // The thread's, until it is joined.
    std::thread thread_;
};

}  // namespace ftvmm::node
