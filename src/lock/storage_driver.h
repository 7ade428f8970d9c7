// Shared storage that may hang, as requests that are answered in time. docs/generations.md
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "lock/storage.h"

namespace ftvmm::lock {

struct StorageOptions {
    // Of one VM alone.
    std::string folder;
    // What a request has to be answered in, from when it is asked for.
    std::chrono::milliseconds deadline{2000};
    // For tests: carries out a request in place of the folder, or has it done by `really`. On the
    // thread that may hang.
    std::function<Reply(const Request&, const std::function<Reply(const Request&)>& really)> hook{};
};

// Carries requests out one at a time, in the order in which they were asked for. Each is answered
// once, in the end by Unknown where its deadline passes. What was under way then may be done all
// the same, and what comes of it is dropped; what was yet to begin never does.
class StorageDriver {
  public:
    // What may wait, more is Unknown at once. Each part of an owner asks for one thing at a time,
    // and there are few parts.
    static constexpr std::size_t kMaxWaiting = 32;

    using Answer = std::function<void(Reply)>;

    // An error where the folder is none, can not serve, or does not answer within the deadline.
    static Result<std::unique_ptr<StorageDriver>> open(StorageOptions options);
    StorageDriver(const StorageDriver&) = delete;
    StorageDriver& operator=(const StorageDriver&) = delete;
    // What has no answer gets none, and no call of one is under way or comes afterwards. Gives up
    // the lock, but where the kernel hangs: then, after one more deadline, the thread is left to
    // itself with all that it uses, and the lock goes when the call returns or the process ends.
    ~StorageDriver();

    // Any thread. `answer` is called on a thread inside that never touches the storage, and may not
    // wait for this driver.
    void ask(Request request, Answer answer);
    // Any other thread than that one: asks, and waits for the answer.
    [[nodiscard]] Reply ask_and_wait(Request request);

  private:
    struct Shared;

    explicit StorageDriver(std::shared_ptr<Shared> shared);
    static void work(const std::shared_ptr<Shared>& shared);
    static void answer(Shared& shared);

    std::shared_ptr<Shared> shared_;  // With the thread that may hang.
    std::thread worker_;
    std::thread answerer_;
};

}  // namespace ftvmm::lock
