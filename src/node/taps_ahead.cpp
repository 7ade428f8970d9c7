#include "node/taps_ahead.h"

#include <utility>

#include "base/quiet_thread.h"
#include "node/host_parts.h"

namespace ftvmm::node {

TapsAhead::TapsAhead(const config::VmConfig& config)
    : thread_(quiet_thread([this, &config] { taps_ = open_taps(config); })) {}

TapsAhead::~TapsAhead() {
    if (thread_.joinable()) thread_.join();
}

Result<std::vector<host::Tap>> TapsAhead::take() {
    thread_.join();
    return std::move(*taps_);
}

}  // namespace ftvmm::node
