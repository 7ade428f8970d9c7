#include "node/log_thread.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::node {

namespace {

// Of the calling thread.
std::chrono::nanoseconds own_cpu_time() {
    timespec time{};
    if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) return {};
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// On a host with one CPU the guest would else stand still for a quantum at every checkpoint. What
// waits is bounded, so the thread gets on. A host that refuses runs both alike.
void yield_to_others() {
    constexpr int kNice = 5;
    (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
}

}  // namespace

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
    yield_to_others();
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
    cpu_time_ = own_cpu_time();
}

Result<void> LogThread::write(std::deque<replay::ClosedBatch> batches) {
    using Effort = replay::BatchPacker::Effort;
    std::size_t left = 0;
    for (const replay::ClosedBatch& batch : batches)
        left += batch.bytes.size();
    for (replay::ClosedBatch& batch : batches) {
        const auto effort = left > kHurriedBytes ? Effort::kHurried : Effort::kUsual;
        left -= batch.bytes.size();
        FTVMM_TRY(writer_.append(packer_.pack(std::move(batch.bytes), effort)));
        bytes_ = writer_.bytes();
    }
    const Instant now = clock_.now();
    if (now - synced_at_ < kSyncEvery) return {};
    synced_at_ = now;
    return writer_.sync();
}

}  // namespace ftvmm::node
