// Disk requests on io_uring(7).
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <array>
#include <memory>
#include <vector>

#include "vmm/host/disk_engine.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::host {

// Reads, writes and flushes go into the ring. Discards and zeroes, which are rare and take many
// forms, go to a PoolEngine that wakes by the same descriptor.
class UringEngine final : public DiskEngine {
  public:
    // An error where the kernel has no io_uring or forbids it.
    static Result<std::unique_ptr<DiskEngine>> create(const DiskFile& disk);
    UringEngine(const DiskFile& disk, EventFd ready, std::unique_ptr<DiskEngine> others,
                const io_uring& ring);
    UringEngine(const UringEngine&) = delete;
    UringEngine& operator=(const UringEngine&) = delete;
    ~UringEngine() override;

    [[nodiscard]] bool try_submit(DiskRequest&& request) override;
    [[nodiscard]] std::vector<DiskCompletion> take_completions() override;
    [[nodiscard]] int ready_fd() const override { return ready_.get(); }
    [[nodiscard]] const char* kind() const override { return "io_uring"; }

  private:
    // A request in the ring, `moved` bytes of which are done.
    struct Slot {
        DiskRequest request;
        std::uint64_t moved = 0;
        std::vector<iovec> pieces;  // What is left of its place; the kernel's while in the ring.
    };

    void enter_ring(std::size_t slot);
    void prepare_transfer(io_uring_sqe& sqe, Slot& entry) const;
    void push_to_kernel();
    void on_result(std::size_t slot, int result);
    void finish(std::size_t slot, int error_number);
    void reap();

    const DiskFile& disk_;
    EventFd ready_;
    std::unique_ptr<DiskEngine> others_;
    io_uring ring_;
    std::array<Slot, kMaxInFlight> slots_;
    std::vector<std::size_t> free_slots_;
    std::size_t in_flight_ = 0;  // In the ring, with the others, or done and not yet taken.
    std::vector<DiskCompletion> done_;
};

}  // namespace ftvmm::host
