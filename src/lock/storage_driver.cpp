#include "lock/storage_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/quiet_thread.h"
#include "lock/shared_folder_driver.h"

namespace ftvmm::lock {

namespace {

// Deadlines are of a clock that goes on while the host sleeps, and condition variables wait by one
// that does not.
constexpr std::chrono::milliseconds kLongestWait{1000};

struct Job {
    Request request;
    StorageDriver::Answer answer;
    Instant deadline;
};

struct Answered {
    StorageDriver::Answer answer;
    Reply reply;
};

}  // namespace

struct StorageDriver::Shared {
    explicit Shared(StorageOptions with) : options(std::move(with)) {}

    const StorageOptions options;
    const SystemClock clock;
    std::mutex mutex;  // Of all below.
    std::condition_variable for_worker;
    std::condition_variable for_answerer;
    std::condition_variable for_owner;
    std::optional<Result<void>> opened;
    std::deque<Job> waiting;
    // What the worker is at. Its answer is empty once somebody was told that it takes too long.
    std::optional<Job> under_way;
    std::vector<Answered> answered;
    bool is_stopping = false;
    bool is_worker_gone = false;

    // The rest with the mutex held.
    [[nodiscard]] Instant next_deadline() const {
        Instant next = Instant::max();
        if (under_way && under_way->answer) next = under_way->deadline;
        return waiting.empty() ? next : std::min(next, waiting.front().deadline);
    }
    void expire(Instant now) {
        const reply::Unknown late{fmt::format("the shared storage does not answer within {} ms",
                                              options.deadline.count())};
        if (under_way && under_way->answer && under_way->deadline <= now) {
            answered.push_back({std::exchange(under_way->answer, nullptr), late});
        }
        // All have the same time, so the first is the oldest.
        while (!waiting.empty() && waiting.front().deadline <= now) {
            answered.push_back({std::move(waiting.front().answer), late});
            waiting.pop_front();
        }
    }
};

Result<std::unique_ptr<StorageDriver>> StorageDriver::open(StorageOptions options) {
    FTVMM_CHECK(options.deadline.count() > 0, "a request has a time to be answered in");
    const auto shared = std::make_shared<Shared>(std::move(options));
    std::unique_ptr<StorageDriver> driver(new StorageDriver(shared));
    std::unique_lock lock(shared->mutex);
    (void)shared->for_owner.wait_for(lock, shared->options.deadline,
                                     [&] { return shared->opened.has_value(); });
    if (!shared->opened) {
        return fail(fmt::format("shared folder {} does not answer within {} ms",
                                shared->options.folder, shared->options.deadline.count()),
                    "see whether its server can be reached");
    }
    FTVMM_TRY(*shared->opened);
    return driver;
}

StorageDriver::StorageDriver(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    worker_ = quiet_thread([shared = shared_] { work(shared); });
    answerer_ = quiet_thread([shared = shared_] { answer(*shared); });
}

StorageDriver::~StorageDriver() {
    std::unique_lock lock(shared_->mutex);
    shared_->is_stopping = true;
    shared_->waiting.clear();
    if (shared_->under_way) shared_->under_way->answer = nullptr;
    shared_->for_worker.notify_one();
    shared_->for_answerer.notify_one();
    lock.unlock();
    answerer_.join();
    lock.lock();
    const bool is_gone = shared_->for_owner.wait_for(lock, shared_->options.deadline,
                                                     [this] { return shared_->is_worker_gone; });
    lock.unlock();
    if (is_gone) {
        worker_.join();
    } else {
        worker_.detach();
    }
}

void StorageDriver::ask(Request request, Answer answer) {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->waiting.size() < kMaxWaiting) {
        shared_->waiting.push_back({std::move(request), std::move(answer),
                                    shared_->clock.now() + shared_->options.deadline});
        shared_->for_worker.notify_one();
    } else {
        shared_->answered.push_back(
            {std::move(answer), reply::Unknown{"too many requests wait for the shared storage"}});
    }
    shared_->for_answerer.notify_one();
}

Reply StorageDriver::ask_and_wait(Request request) {
    std::mutex mutex;
    std::condition_variable is_there;
    std::optional<Reply> reply;
    ask(std::move(request), [&](Reply got) {
        const std::lock_guard lock(mutex);
        reply = std::move(got);
        is_there.notify_one();
    });
    std::unique_lock lock(mutex);
    is_there.wait(lock, [&] { return reply.has_value(); });
    return std::move(*reply);
}

// The thread that may hang. The folder is its own, and goes with it.
void StorageDriver::work(const std::shared_ptr<Shared>& shared) {
    {
        auto folder = SharedFolder::open(shared->options.folder);
        const auto really = [&](const Request& request) { return folder->carry_out(request); };
        std::unique_lock lock(shared->mutex);
        shared->opened = folder ? Result<void>() : Failure(folder.error());
        shared->for_owner.notify_one();
        while (folder) {
            shared->for_worker.wait(
                lock, [&] { return shared->is_stopping || !shared->waiting.empty(); });
            if (shared->is_stopping) break;
            shared->expire(shared->clock.now());
            if (shared->waiting.empty()) {
                shared->for_answerer.notify_one();
                continue;
            }
            shared->under_way = std::move(shared->waiting.front());
            shared->waiting.pop_front();
            const Request request = shared->under_way->request;
            lock.unlock();
            Reply reply =
                shared->options.hook ? shared->options.hook(request, really) : really(request);
            lock.lock();
            if (shared->under_way->answer) {
                shared->answered.push_back(
                    {std::move(shared->under_way->answer), std::move(reply)});
                shared->for_answerer.notify_one();
            }
            shared->under_way.reset();
        }
    }
    const std::lock_guard lock(shared->mutex);
    shared->is_worker_gone = true;
    shared->for_owner.notify_one();
}

// The thread of the answers.
void StorageDriver::answer(Shared& shared) {
    std::unique_lock lock(shared.mutex);
    while (!shared.is_stopping) {
        shared.expire(shared.clock.now());
        if (!shared.answered.empty()) {
            std::vector<Answered> batch = std::exchange(shared.answered, {});
            lock.unlock();
            for (Answered& each : batch)
                each.answer(std::move(each.reply));
            batch.clear();
            lock.lock();
            continue;
        }
        const Instant next = shared.next_deadline();
        const Instant now = shared.clock.now();
        const auto wait = next == Instant::max()
                              ? BootClock::duration(kLongestWait)
                              : std::min<BootClock::duration>(next - now, kLongestWait);
        (void)shared.for_answerer.wait_for(lock, wait);
    }
}

}  // namespace ftvmm::lock
