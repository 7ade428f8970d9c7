#include "node/log_thread.h"

#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::node {

LogThread::LogThread(replay::LogWriter writer, std::function<void(const Error&)> failed)
    : failed_(std::move(failed)),
      bytes_(writer.bytes()),
      writer_(std::move(writer)),
      synced_at_(clock_.now()) {
    thread_ = quiet_thread([this] { work(); });
}

LogThread::~LogThread() {
    if (thread_.joinable()) (void)finish();
}

void LogThread::append(std::vector<replay::ClosedBatch> batches) {
    if (batches.empty()) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_bytes_ < kMaxWaitingBytes || !result_; });
    if (!result_) return;
    for (replay::ClosedBatch& batch : batches) {
        waiting_bytes_ += batch.bytes.size();
        waiting_.push_back(std::move(batch));
    }
    changed_.notify_all();
}

Result<void> LogThread::finish() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    thread_.join();
    return result_;
}

void LogThread::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) break;
        auto batches = std::exchange(waiting_, {});
        waiting_bytes_ = 0;
        changed_.notify_all();
        lock.unlock();
        auto written = write(std::move(batches));
        lock.lock();
        if (written) continue;
        result_ = written;
        waiting_.clear();
        changed_.notify_all();
        lock.unlock();
        failed_(written.error());
        return;
    }
    result_ = writer_.sync();
}

Result<void> LogThread::write(std::deque<replay::ClosedBatch> batches) {
    for (replay::ClosedBatch& batch : batches) {
        FTVMM_TRY(writer_.append(packer_.pack(std::move(batch.bytes))));
        bytes_ = writer_.bytes();
    }
    const Instant now = clock_.now();
    if (now - synced_at_ < kSyncEvery) return {};
    synced_at_ = now;
    return writer_.sync();
}

}  // namespace ftvmm::node
