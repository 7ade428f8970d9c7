// Makes disks one file again that a takeover has put into layers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "node/fence_agent.h"
#include "node/host_parts.h"
#include "node/log.h"

namespace ftvmm::node {

// How it is with one disk that is in layers, or was.
struct DiskLayers {
    std::string disk;
    std::string overlay;  // What holds the newest of it.
    bool is_whole = false;
    // Nobody else can write to it any more; until then all stays where it is.
    bool is_settled = false;
    std::uint64_t left_bytes = 0;  // To be moved.
};

// Works on a thread of its own while the guest runs, and says in lines how it gets on; what is left
// when it is stopped stays in layers. `chains`, whose engines are made, outlive it.
class DiskMerge {
  public:
    struct Options {
        // Whether this host owns the VM; nothing is begun unless it does. Any thread may ask.
        std::function<bool()> may_act;
        // Who ends the lost host, where its locks do not come free by themselves.
        std::optional<FenceAgent> agent;
        std::chrono::milliseconds patience{10'000};  // That long, and between two tries.
        Log log;
    };
    DiskMerge(const std::vector<std::unique_ptr<overlay::DiskChain>>& chains, Options options);
    DiskMerge(const DiskMerge&) = delete;
    DiskMerge& operator=(const DiskMerge&) = delete;
    ~DiskMerge() { stop(); }
    // Returns once nothing of it is under way any more. Once is enough.
    void stop();

    // Of those that are or were in layers. Any thread.
    [[nodiscard]] std::vector<DiskLayers> status() const;

  private:
    struct Work {
        overlay::DiskChain* chain = nullptr;
        bool is_done = false;
        bool was_settled = false;
        std::string trouble;  // Said last.
    };

    void work();
    // True: it got on.
    bool step(Work& work);
    void ask_agent();
    void say_progress(Work& work);

    Options options_;
    std::vector<Work> works_;  // Whose chains are never changed.
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<bool> stopping_{false};  // Set under mutex_.
    bool is_fenced_ = false;             // The thread's own, as the next.
    Instant asks_agent_at_{};
    std::thread thread_;
};

}  // namespace ftvmm::node
