#include "node/shared_parts.h"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/clock.h"

namespace ftvmm::node {

Result<void> check_shared(const config::VmConfig& config, const HostParts& parts) {
    for (std::size_t i = 0; i < parts.disk_files.size(); ++i) {
        const auto& file = parts.disk_files[i];
        if (file.direct() || file.read_only()) continue;
        return fail(fmt::format("disk {} can not be read and written by sectors past the page "
                                "cache (O_DIRECT): a host that takes the VM over would miss what "
                                "this one keeps there",
                                config.disks[i].path),
                    "keep it on NFS or a block device with sectors of 512 bytes");
    }
    return {};
}

Result<HostParts> await_shared_parts(const config::VmConfig& config, const std::atomic<bool>& stops,
                                     const Log& log) {
    constexpr std::chrono::milliseconds kTryEvery{500};
    std::string last;
    while (true) {
        auto parts = open_host_parts(config, host::DiskLock::kIfFree);
        if (parts || stops) return parts;
        if (const std::string line = parts.error().line(); line != last) {
            log("the VM can not go on yet: " + line);
            last = line;
        }
        std::this_thread::sleep_for(kTryEvery);
    }
}

// Asked again and again: a wait in the kernel for a lock (F_OFD_SETLKW) has no end of its own.
void drain(HostParts& parts) {
    constexpr std::chrono::seconds kPatience{10};
    constexpr std::chrono::milliseconds kTryEvery{10};
    const SystemClock clock;
    const Instant begun = clock.now();
    for (auto& disk : parts.disk_files) {
        while (!disk.locked() && clock.now() - begun < kPatience) {
            if (const auto locked = disk.try_lock(); locked && *locked) break;
            std::this_thread::sleep_for(kTryEvery);
        }
    }
}

}  // namespace ftvmm::node
