// The thread that carries out the guest's disk requests.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/spsc_queue.h"
#include "node/doorbell.h"
#include "node/log.h"
#include "node/output_hold.h"
#include "node/range_order.h"
#include "node/waker.h"
#include "replay/output.h"
#include "vmm/host/disk_engine.h"

namespace ftvmm::node {

// One of the guest's disks; what its engine works on outlives it.
struct NodeDisk {
    std::string name;  // For people.
    std::unique_ptr<host::DiskEngine> engine;
};

// The end of one request.
struct DiskDone {
    std::uint32_t disk = 0;
    std::uint64_t id = 0;
    bool ok = false;
    std::uint64_t length = 0;  // Of a read that found something for the buffer, else 0.
    std::uint64_t weight = 0;  // Of what was outstanding, in bytes.
    AlignedBuffer buffer;      // Its first `length` bytes are what a read found, where it is ok.
};

// Requests go in and ends come out on the vCPU thread; the thread inside owns the engines. Requests
// that race are carried out in their order (RangeOrder). Never more than kMaxRequests per disk and
// about kMaxBytes are outstanding, which is from submit() until take(): so both queues always have
// room, and neither side ever waits for the other. The destructor ends the thread, and waits for
// what the storage is doing.
class DiskThread {
  public:
    static constexpr std::size_t kMaxRequests = host::DiskEngine::kMaxInFlight;
    // What the guest can make this process hold. More than any disk needs to be busy.
    static constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20U;

    // Nothing changes a disk while `right`, if there is one, does not hold; it waits, and what
    // comes behind it too. That and `waker` outlive it.
    static Result<std::unique_ptr<DiskThread>> start(std::vector<NodeDisk> disks, Waker& waker,
                                                     Log log, const OutputRight* right = nullptr);
    DiskThread(std::vector<NodeDisk> disks, Waker& waker, Log log, Doorbell bell,
               const OutputRight* right);
    DiskThread(const DiskThread&) = delete;
    DiskThread& operator=(const DiskThread&) = delete;
    ~DiskThread();

    // The vCPU thread's own.
    [[nodiscard]] bool has_room_for(const replay::output::DiskRequest& request) const;
    // Only with room for it.
    void submit(replay::output::DiskRequest&& request);
    // An end, in any order. The waker wakes when there is one.
    [[nodiscard]] std::optional<DiskDone> take();
    [[nodiscard]] bool has_done() const { return done_.size() > 0; }
    [[nodiscard]] std::size_t outstanding() const { return outstanding_; }

  private:
    struct Disk {
        NodeDisk node;
        RangeOrder order;
        std::unordered_map<std::uint64_t, replay::output::DiskRequest> requests;
        std::deque<std::uint64_t> ready;  // May run, and wait for room in the engine.
        std::size_t in_engine = 0;
        RateLimit failures;
    };

    void work();
    void wait();
    void accept(replay::output::DiskRequest&& request);
    void fill_engine(Disk& disk);
    [[nodiscard]] bool may_begin(const replay::output::DiskRequest& request) const;
    // Whether anything ended.
    bool take_from_engine(Disk& disk, std::uint32_t index);
    void say_failed(Disk& disk, const replay::output::DiskRequest& request, int error_number);

    Waker& waker_;
    Log log_;
    const OutputRight* right_;
    Doorbell bell_;
    std::atomic<bool> stopping_{false};
    SpscQueue<replay::output::DiskRequest> requests_;
    SpscQueue<DiskDone> done_;

    std::size_t outstanding_ = 0;  // The vCPU thread's.
    std::uint64_t outstanding_bytes_ = 0;
    std::size_t max_outstanding_;

    std::vector<Disk> disks_;  // The thread's own, like what follows.
    bool waits_for_right_ = false;
    SystemClock clock_;
    std::thread thread_;
};

}  // namespace ftvmm::node
