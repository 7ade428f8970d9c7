#include "vmm/host/uring_engine.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "vmm/host/pool_engine.h"

namespace ftvmm::host {

namespace {

// What is left of `place` behind `moved` of its bytes, up to `length`.
std::vector<iovec> pieces_behind(const MemoryPieces& place, std::uint64_t moved,
                                 std::uint64_t length) {
    std::vector<iovec> left;
    left.reserve(place.pieces.size());
    std::uint64_t at = 0;
    for (std::span<std::byte> piece : place.pieces) {
        const std::uint64_t end = std::min<std::uint64_t>(at + piece.size(), length);
        if (end > moved) {
            const std::uint64_t skipped = std::max(moved, at) - at;
            left.push_back({piece.data() + skipped, end - at - skipped});
        }
        at = end;
    }
    return left;
}

}  // namespace

Result<std::unique_ptr<DiskEngine>> UringEngine::create(const DiskFile& disk) {
    FTVMM_ASSIGN(EventFd ready, EventFd::create());
    FTVMM_ASSIGN(EventFd shared, ready.share());
    io_uring ring{};
    // Each request has at most one entry in the ring, so neither queue of it can overflow.
    if (const int result = ::io_uring_queue_init(kMaxInFlight, &ring, IORING_SETUP_CLAMP);
        result < 0) {
        return Failure(Error::from_errno(-result, "io_uring"));
    }
    if (const int result = ::io_uring_register_eventfd(&ring, ready.get()); result < 0) {
        ::io_uring_queue_exit(&ring);
        return Failure(Error::from_errno(-result, "io_uring"));
    }
    auto others = std::make_unique<PoolEngine>(
        disk, std::make_unique<FdBlockFile>(disk.fd(), disk.block_device()), std::move(shared));
    return std::make_unique<UringEngine>(disk, std::move(ready), std::move(others), ring);
}

UringEngine::UringEngine(const DiskFile& disk, EventFd ready, std::unique_ptr<DiskEngine> others,
                         const io_uring& ring)
    : disk_(disk), ready_(std::move(ready)), others_(std::move(others)), ring_(ring) {
    for (std::size_t slot = kMaxInFlight; slot > 0; --slot)
        free_slots_.push_back(slot - 1);
}

UringEngine::~UringEngine() {
    // The kernel writes into the buffers until each is completed.
    while (free_slots_.size() < kMaxInFlight) {
        io_uring_cqe* cqe = nullptr;
        push_to_kernel();
        (void)::io_uring_wait_cqe(&ring_, &cqe);
        reap();
    }
    ::io_uring_queue_exit(&ring_);
}

bool UringEngine::try_submit(DiskRequest&& request) {
    if (in_flight_ == kMaxInFlight) return false;
    ++in_flight_;
    const bool moves =
        request.operation == DiskOperation::kRead || request.operation == DiskOperation::kWrite;
    if (const int refused = disk_.refusal(request);
        refused != 0 || (moves && request.length == 0)) {
        done_.push_back(DiskCompletion{request.id, refused, std::move(request.buffer)});
        ready_.signal();
        return true;
    }
    if (!moves && request.operation != DiskOperation::kFlush) {
        return others_->try_submit(std::move(request));
    }
    const std::size_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = Slot{std::move(request), 0, {}};
    enter_ring(slot);
    push_to_kernel();
    return true;
}

void UringEngine::enter_ring(std::size_t slot) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    FTVMM_CHECK(sqe != nullptr, "the ring has an entry for each request");
    Slot& entry = slots_[slot];
    if (entry.request.operation == DiskOperation::kFlush) {
        ::io_uring_prep_fsync(sqe, disk_.fd(), IORING_FSYNC_DATASYNC);
    } else {
        prepare_transfer(*sqe, entry);
    }
    ::io_uring_sqe_set_data64(sqe, slot);
}

void UringEngine::prepare_transfer(io_uring_sqe& sqe, Slot& entry) const {
    DiskRequest& request = entry.request;
    const auto count = static_cast<unsigned>(request.length - entry.moved);
    const std::uint64_t offset = request.offset + entry.moved;
    const bool is_read = request.operation == DiskOperation::kRead;
    if (request.place.is_any()) {
        entry.pieces = pieces_behind(request.place, entry.moved, request.length);
        const auto pieces = static_cast<unsigned>(entry.pieces.size());
        if (is_read) {
            ::io_uring_prep_readv(&sqe, disk_.fd(), entry.pieces.data(), pieces, offset);
        } else {
            ::io_uring_prep_writev(&sqe, disk_.fd(), entry.pieces.data(), pieces, offset);
        }
    } else if (is_read) {
        ::io_uring_prep_read(&sqe, disk_.fd(), request.buffer.bytes().data() + entry.moved, count,
                             offset);
    } else {
        ::io_uring_prep_write(&sqe, disk_.fd(), request.data.data() + entry.moved, count, offset);
    }
}

void UringEngine::push_to_kernel() {
    while (::io_uring_sq_ready(&ring_) > 0) {
        const int result = ::io_uring_submit(&ring_);
        if (result >= 0 || result == -EINTR) continue;
        // The kernel lacks memory for now: the owner comes back by the signal and tries again.
        ready_.signal();
        return;
    }
}

std::vector<DiskCompletion> UringEngine::take_completions() {
    // The others' come first: taking them drains the shared wake-up, and what the ring signals from
    // here on must stay.
    for (DiskCompletion& completion : others_->take_completions())
        done_.push_back(std::move(completion));
    reap();
    push_to_kernel();
    in_flight_ -= done_.size();
    return std::exchange(done_, {});
}

void UringEngine::reap() {
    io_uring_cqe* cqe = nullptr;
    while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
        const auto slot = static_cast<std::size_t>(::io_uring_cqe_get_data64(cqe));
        const int result = cqe->res;
        ::io_uring_cqe_seen(&ring_, cqe);
        on_result(slot, result);
    }
}

void UringEngine::on_result(std::size_t slot, int result) {
    Slot& entry = slots_[slot];
    if (result == -EINTR || result == -EAGAIN) {
        enter_ring(slot);
    } else if (result < 0) {
        finish(slot, -result);
    } else if (entry.request.operation == DiskOperation::kFlush) {
        finish(slot, 0);
    } else if (result == 0) {
        finish(slot, EIO);  // The end of the file where the disk has none: it was cut under us.
    } else {
        entry.moved += static_cast<std::uint64_t>(result);
        if (entry.moved == entry.request.length) {
            finish(slot, 0);
        } else {
            enter_ring(slot);
        }
    }
}

void UringEngine::finish(std::size_t slot, int error_number) {
    DiskRequest& request = slots_[slot].request;
    done_.push_back(DiskCompletion{request.id, error_number, std::move(request.buffer)});
    // The memory may be gone before the slot is used again.
    request.place = {};
    free_slots_.push_back(slot);
}

}  // namespace ftvmm::host
