// Carries out many disk requests at once.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/result.h"
#include "vmm/host/disk_file.h"
#include "vmm/host/disk_request.h"

namespace ftvmm::host {

// Owned and called by one thread, the disk thread. Each request taken is completed exactly once, in
// no order: who needs one before the other waits for the one. A flush makes durable every write
// completed before it was submitted, and no other. A discard that the storage cannot do is done.
// The destructor waits for what is in flight; completions that were not taken are then gone.
class DiskEngine {
  public:
    // Virtio queues of the guest hold as many; more would only wait in the kernel.
    static constexpr std::size_t kMaxInFlight = 256;

    DiskEngine() = default;
    DiskEngine(const DiskEngine&) = delete;
    DiskEngine& operator=(const DiskEngine&) = delete;
    virtual ~DiskEngine() = default;

    // True: `request` was moved in. False: kMaxInFlight requests wait for take_completions(), and
    // this one is untouched.
    [[nodiscard]] virtual bool try_submit(DiskRequest&& request) = 0;
    // What was completed since the last call. Never waits.
    [[nodiscard]] virtual std::vector<DiskCompletion> take_completions() = 0;
    // Readable when take_completions() has something to give; calling that makes it unreadable.
    [[nodiscard]] virtual int ready_fd() const = 0;
    // "io_uring" or "threads", for the status.
    [[nodiscard]] virtual const char* kind() const = 0;
};

// On io_uring, or on a few threads where the kernel has it not or forbids it. `disk` outlives it.
[[nodiscard]] Result<std::unique_ptr<DiskEngine>> make_disk_engine(const DiskFile& disk);

}  // namespace ftvmm::host
