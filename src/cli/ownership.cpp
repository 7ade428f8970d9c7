#include "cli/ownership.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include "base/check.h"
#include "node/log.h"

namespace ftvmm::cli {

namespace {

// For people, who find this run in the host's logs by it.
std::string boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    return std::getline(file, id) ? id : "?";
}

}  // namespace

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "?";
    return name.data();
}

Result<std::unique_ptr<lock::Ownership>> open_ownership(const config::VmConfig& config) {
    FTVMM_CHECK(config.ft, "a VM with a shared folder");
    lock::OwnershipOptions options;
    options.folder = config.ft->shared;
    options.vm = config.uuid.bytes;
    options.host = host_name();
    options.boot_id = boot_id();
    options.times = lock::LeaseTimes::of(config.ft->lease);
    options.log = [](const std::string& line) { node::log_to_stderr(line); };
    return lock::Ownership::open(std::move(options));
}

}  // namespace ftvmm::cli
