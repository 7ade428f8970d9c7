#include "vmm/host/pool_engine.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/quiet_thread.h"

namespace ftvmm::host {

namespace {

constexpr std::size_t kZeroesBytes = std::size_t{256} * 1024;

// Moves `bytes` by `transfer(bytes, offset)` until none is left. A transfer of nothing is an end of
// the file where the disk has none: the file was cut under us.
template <class Bytes, class Transfer>
int transfer_all(Bytes bytes, std::uint64_t offset, Transfer transfer) {
    while (!bytes.empty()) {
        const ssize_t moved = transfer(bytes, static_cast<off_t>(offset));
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) return moved < 0 ? errno : EIO;
        bytes = bytes.subspan(static_cast<std::size_t>(moved));
        offset += static_cast<std::uint64_t>(moved);
    }
    return 0;
}

int write_all(const DiskFile& disk, std::span<const std::byte> bytes, std::uint64_t offset) {
    return transfer_all(bytes, offset, [&](std::span<const std::byte> rest, off_t at) {
        return ::pwrite(disk.fd(), rest.data(), rest.size(), at);
    });
}

int read_all(const DiskFile& disk, std::span<std::byte> bytes, std::uint64_t offset) {
    return transfer_all(bytes, offset, [&](std::span<std::byte> rest, off_t at) {
        return ::pread(disk.fd(), rest.data(), rest.size(), at);
    });
}

// Piece by piece: the pieces are many where memory is in pages, and a disk that is this engine's is
// slow anyway.
int move_in_place(const DiskFile& disk, const DiskRequest& request) {
    std::uint64_t done = 0;
    for (const std::span<std::byte> piece : request.place.pieces) {
        const auto bytes =
            piece.first(std::min<std::uint64_t>(piece.size(), request.length - done));
        const std::uint64_t offset = request.offset + done;
        const int error = request.operation == DiskOperation::kRead
                              ? read_all(disk, bytes, offset)
                              : write_all(disk, bytes, offset);
        if (error != 0) return error;
        done += bytes.size();
    }
    return 0;
}

int allocate(const DiskFile& disk, int mode, const DiskRequest& request) {
    int result = -1;
    do {
        result =
            ::fallocate(disk.fd(), mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(request.offset),
                        static_cast<off_t>(request.length));
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

int discard(const DiskFile& disk, const DiskRequest& request) {
    int error = 0;
    if (disk.block_device()) {
        std::array<std::uint64_t, 2> range{request.offset, request.length};
        error = ::ioctl(disk.fd(), BLKDISCARD, range.data()) == 0 ? 0 : errno;
    } else {
        error = allocate(disk, FALLOC_FL_PUNCH_HOLE, request);
    }
    // A discard is a hint: storage that cannot take it has done no harm.
    return error == EOPNOTSUPP || error == ENOTTY ? 0 : error;
}

int write_zeroes(const DiskFile& disk, const DiskRequest& request) {
    int error = allocate(disk, FALLOC_FL_ZERO_RANGE, request);
    if (error != EOPNOTSUPP) return error;
    AlignedBuffer zeroes(kZeroesBytes);
    std::ranges::fill(zeroes.bytes(), std::byte{0});
    error = 0;
    for (std::uint64_t done = 0; error == 0 && done < request.length; done += kZeroesBytes) {
        const auto count = std::min<std::uint64_t>(kZeroesBytes, request.length - done);
        error = write_all(disk, zeroes.bytes().first(count), request.offset + done);
    }
    return error;
}

}  // namespace

int perform(const DiskFile& disk, DiskRequest& request) {
    if (request.operation == DiskOperation::kFlush) {
        return ::fdatasync(disk.fd()) == 0 ? 0 : errno;
    }
    if (request.length == 0) return 0;
    if (request.place.is_any()) return move_in_place(disk, request);
    switch (request.operation) {
        case DiskOperation::kRead:
            return read_all(disk, request.buffer.bytes().first(request.length), request.offset);
        case DiskOperation::kWrite:
            return write_all(disk, std::span(request.data).first(request.length), request.offset);
        case DiskOperation::kDiscard:
            return discard(disk, request);
        default:
            return write_zeroes(disk, request);
    }
}

Result<std::unique_ptr<DiskEngine>> PoolEngine::create(const DiskFile& disk) {
    FTVMM_ASSIGN(EventFd ready, EventFd::create());
    return std::make_unique<PoolEngine>(disk, std::move(ready));
}

PoolEngine::PoolEngine(const DiskFile& disk, EventFd ready)
    : disk_(disk), ready_(std::move(ready)) {
    for (int i = 0; i < kThreads; ++i)
        threads_.push_back(quiet_thread([this] { work(); }));
}

PoolEngine::~PoolEngine() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_)
        thread.join();
}

bool PoolEngine::try_submit(DiskRequest&& request) {
    if (in_flight_ == kMaxInFlight) return false;
    ++in_flight_;
    const int refused = disk_.refusal(request);
    const std::lock_guard guard(mutex_);
    if (refused != 0) {
        done_.push_back(DiskCompletion{request.id, refused, std::move(request.buffer)});
        ready_.signal();
    } else {
        waiting_.push_back(std::move(request));
        wake_.notify_one();
    }
    return true;
}

std::vector<DiskCompletion> PoolEngine::take_completions() {
    const std::lock_guard guard(mutex_);
    ready_.drain();
    in_flight_ -= done_.size();
    return std::exchange(done_, {});
}

// Works until there is nothing left and the engine stops: a stopping engine loses no request.
void PoolEngine::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        DiskRequest request = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        const int error = perform(disk_, request);
        lock.lock();
        done_.push_back(DiskCompletion{request.id, error, std::move(request.buffer)});
        ready_.signal();
    }
}

}  // namespace ftvmm::host
