#include "node/shared_parts.h"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "vmm/host/mount_facts.h"

namespace ftvmm::node {

namespace {

// Asked again and again: a wait in the kernel for a lock (F_OFD_SETLKW) has no end of its own.
Result<void> drain(HostParts& parts) {
    constexpr std::chrono::seconds kPatience{1};
    constexpr std::chrono::milliseconds kTryEvery{5};
    const SystemClock clock;
    const Instant begun = clock.now();
    for (auto& chain : parts.chains) {
        while (true) {
            FTVMM_ASSIGN(const bool locked, chain->try_locks());
            if (locked || clock.now() - begun > kPatience) break;
            std::this_thread::sleep_for(kTryEvery);
        }
    }
    return {};
}

// `ahead` is null from then on: what could not be made ahead may be made the next time.
Result<HostParts> open_for(const config::VmConfig& config, const Takeover& takeover,
                           TapsAhead*& ahead) {
    HostParts parts;
    FTVMM_TRY(open_chains(config, host::DiskLock::kIfFree, parts));
    FTVMM_TRY(check_shared(config, parts));
    if (takeover.host_answers) FTVMM_TRY(drain(parts));
    for (auto& chain : parts.chains)
        FTVMM_TRY(chain->cover(takeover.generation));
    FTVMM_TRY(make_engines(config, parts));
    FTVMM_ASSIGN(parts.taps,
                 ahead != nullptr ? std::exchange(ahead, nullptr)->take() : open_taps(config));
    return parts;
}

}  // namespace

Result<void> check_shared(const config::VmConfig& config, const HostParts& parts) {
    for (std::size_t i = 0; i < parts.chains.size(); ++i) {
        const auto& file = parts.chains[i]->base();
        if (file.read_only()) continue;
        FTVMM_ASSIGN(const bool has_local_locks, host::has_local_locks(file));
        if (has_local_locks) {
            return fail(fmt::format("locks on disk {} are not seen by other hosts: one that takes "
                                    "the VM over could not tell whether this one still writes",
                                    config.disks[i].path),
                        "keep it in a file on NFS, mounted without nolock and local_lock, or on a "
                        "cluster file system");
        }
        if (file.direct()) continue;
        return fail(fmt::format("disk {} can not be read and written by sectors past the page "
                                "cache (O_DIRECT): a host that takes the VM over would miss what "
                                "this one keeps there",
                                config.disks[i].path),
                    "keep it on NFS, or on a file system that can");
    }
    return {};
}

Result<HostParts> await_shared_parts(const config::VmConfig& config, const Takeover& takeover,
                                     TapsAhead* ahead, const std::atomic<bool>& stops,
                                     const Log& log) {
    constexpr std::chrono::milliseconds kTryEvery{500};
    std::string last;
    while (true) {
        auto parts = open_for(config, takeover, ahead);
        if (parts || stops) return parts;
        if (const std::string line = parts.error().line(); line != last) {
            log("the VM can not go on yet: " + line);
            last = line;
        }
        std::this_thread::sleep_for(kTryEvery);
    }
}

}  // namespace ftvmm::node
