// Disk requests on a few threads that wait: for kernels without io_uring, and for disks in layers.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "vmm/host/block_file.h"
#include "vmm/host/disk_engine.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::host {

class PoolEngine final : public DiskEngine {
  public:
    // Enough to keep a disk busy beside a flush.
    static constexpr int kThreads = 4;

    static Result<std::unique_ptr<DiskEngine>> create(const DiskFile& disk);
    // `disk` says what is refused, and all else is asked of `file`.
    PoolEngine(const DiskFile& disk, std::shared_ptr<BlockFile> file, EventFd ready);
    PoolEngine(const PoolEngine&) = delete;
    PoolEngine& operator=(const PoolEngine&) = delete;
    ~PoolEngine() override;

    [[nodiscard]] bool try_submit(DiskRequest&& request) override;
    [[nodiscard]] std::vector<DiskCompletion> take_completions() override;
    [[nodiscard]] int ready_fd() const override { return ready_.get(); }
    [[nodiscard]] const char* kind() const override { return "threads"; }

  private:
    void work();

    const DiskFile& disk_;
    const std::shared_ptr<BlockFile> file_;
    EventFd ready_;
    std::size_t in_flight_ = 0;  // Touched by the owner's thread alone.

    std::mutex mutex_;  // Guards what follows.
    std::condition_variable wake_;
    bool stopping_ = false;
    std::deque<DiskRequest> waiting_;
    std::vector<DiskCompletion> done_;

    std::vector<std::thread> threads_;
};

}  // namespace ftvmm::host
