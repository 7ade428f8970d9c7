// Makes disks one file again that a takeover has put into layers.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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
// when it is stopped stays in layers. Nothing is begun unless `may_act`, which any thread may ask:
// whether this host owns the VM. `chains`, whose engines are made, outlive it.
class DiskMerge {
  public:
    DiskMerge(const std::vector<std::unique_ptr<overlay::DiskChain>>& chains,
              std::function<bool()> may_act, Log log);
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
    void say_progress(Work& work);

    std::function<bool()> may_act_;
    Log log_;
    std::vector<Work> works_;  // Whose chains are never changed.
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;  // Guarded by mutex_.
    std::thread thread_;
};

}  // namespace ftvmm::node
