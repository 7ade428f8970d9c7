// The thread that writes a log to its file.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "node/batch_sink.h"
#include "replay/log_file.h"
#include "replay/log_format.h"
#include "replay/recorder.h"

namespace ftvmm::node {

// Batches go in on the vCPU thread, in order; the thread inside makes them small, writes them, and
// has the host keep them every kSyncEvery. It is nicer than the vCPU's. A batch that can not be
// written ends it: nothing is written behind a gap.
class LogThread final : public BatchSink {
  public:
    // What may wait to be written: more than that, and the guest has to stand still.
    static constexpr std::size_t kMaxWaitingBytes = std::size_t{64} << 20U;
    // Where more waits, it is packed in a hurry: the host has no second CPU for it.
    static constexpr std::size_t kHurriedBytes = std::size_t{4} << 20U;
    static constexpr std::chrono::seconds kSyncEvery{1};

    // `failed` is called on the thread inside, once, when the log can not go on.
    LogThread(replay::LogWriter writer, std::function<void(const Error&)> failed);
    LogThread(const LogThread&) = delete;
    LogThread& operator=(const LogThread&) = delete;
    // What was appended is written.
    ~LogThread() override;

    // Waits while too much waits already.
    void append(std::vector<replay::ClosedBatch> batches) override;
    // Waits until all is written, and kept by the host. Nothing may be appended afterwards.
    [[nodiscard]] Result<void> finish();
    // CPU time that was spent on it, once it is finished.
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const { return cpu_time_; }
    // As far as it is written.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  private:
    void work();
    [[nodiscard]] Result<void> write(std::deque<replay::ClosedBatch> batches);

    std::function<void(const Error&)> failed_;
    std::atomic<std::uint64_t> bytes_;

    replay::LogWriter writer_;  // The thread's own, like what follows.
    replay::BatchPacker packer_;
    SystemClock clock_;
    Instant synced_at_;
    std::chrono::nanoseconds cpu_time_{};

    std::mutex mutex_;  // Guards what follows.
    std::condition_variable changed_;
    std::deque<replay::ClosedBatch> waiting_;
    std::size_t waiting_bytes_ = 0;
    bool stopping_ = false;
    Result<void> result_;
    std::thread thread_;
};

}  // namespace ftvmm::node
