#include "vmm/host/pool_engine.h"

#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::host {

Result<std::unique_ptr<DiskEngine>> PoolEngine::create(const DiskFile& disk) {
    FTVMM_ASSIGN(EventFd ready, EventFd::create());
    return std::make_unique<PoolEngine>(
        disk, std::make_unique<FdBlockFile>(disk.fd(), disk.block_device()), std::move(ready));
}

PoolEngine::PoolEngine(const DiskFile& disk, std::shared_ptr<BlockFile> file, EventFd ready)
    : disk_(disk), file_(std::move(file)), ready_(std::move(ready)) {
    for (int i = 0; i < kThreads; ++i)
        threads_.push_back(quiet_thread([this] { work(); }));
}

PoolEngine::~PoolEngine() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_)
        thread.join();
}

bool PoolEngine::try_submit(DiskRequest&& request) {
    if (in_flight_ == kMaxInFlight) return false;
    ++in_flight_;
    const int refused = disk_.refusal(request);
    const std::lock_guard guard(mutex_);
    if (refused != 0) {
        done_.push_back(DiskCompletion{request.id, refused, std::move(request.buffer)});
        ready_.signal();
    } else {
        waiting_.push_back(std::move(request));
        wake_.notify_one();
    }
    return true;
}

std::vector<DiskCompletion> PoolEngine::take_completions() {
    const std::lock_guard guard(mutex_);
    ready_.drain();
    in_flight_ -= done_.size();
    return std::exchange(done_, {});
}

// Works until there is nothing left and the engine stops: a stopping engine loses no request.
void PoolEngine::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        DiskRequest request = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        const int error = perform(*file_, request);
        lock.lock();
        done_.push_back(DiskCompletion{request.id, error, std::move(request.buffer)});
        ready_.signal();
    }
}

}  // namespace ftvmm::host
