#include "vmm/host/block_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/aligned_buffer.h"

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

int allocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
    int result = -1;
    do {
        result = ::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                             static_cast<off_t>(length));
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

// Piece by piece: the pieces are many where memory is in pages, and a disk that is used one call at
// a time is slow anyway.
int move_in_place(BlockFile& file, const DiskRequest& request) {
    std::uint64_t done = 0;
    for (const std::span<std::byte> piece : request.place.pieces) {
        const auto bytes =
            piece.first(std::min<std::uint64_t>(piece.size(), request.length - done));
        const std::uint64_t offset = request.offset + done;
        const int error = request.operation == DiskOperation::kRead ? file.read(bytes, offset)
                                                                    : file.write(bytes, offset);
        if (error != 0) return error;
        done += bytes.size();
    }
    return 0;
}

}  // namespace

int FdBlockFile::read(std::span<std::byte> bytes, std::uint64_t offset) {
    return transfer_all(bytes, offset, [this](std::span<std::byte> rest, off_t at) {
        return ::pread(fd_, rest.data(), rest.size(), at);
    });
}

int FdBlockFile::write(std::span<const std::byte> bytes, std::uint64_t offset) {
    return transfer_all(bytes, offset, [this](std::span<const std::byte> rest, off_t at) {
        return ::pwrite(fd_, rest.data(), rest.size(), at);
    });
}

int FdBlockFile::zero(std::uint64_t offset, std::uint64_t length) {
    int error = allocate(fd_, FALLOC_FL_ZERO_RANGE, offset, length);
    if (error != EOPNOTSUPP) return error;
    AlignedBuffer zeroes(kZeroesBytes);
    std::ranges::fill(zeroes.bytes(), std::byte{0});
    error = 0;
    for (std::uint64_t done = 0; error == 0 && done < length; done += kZeroesBytes) {
        const auto count = std::min<std::uint64_t>(kZeroesBytes, length - done);
        error = write(zeroes.bytes().first(count), offset + done);
    }
    return error;
}

int FdBlockFile::discard(std::uint64_t offset, std::uint64_t length) {
    int error = 0;
    if (block_device_) {
        std::array<std::uint64_t, 2> range{offset, length};
        error = ::ioctl(fd_, BLKDISCARD, range.data()) == 0 ? 0 : errno;
    } else {
        error = allocate(fd_, FALLOC_FL_PUNCH_HOLE, offset, length);
    }
    // A discard is a hint: storage that cannot take it has done no harm.
    return error == EOPNOTSUPP || error == ENOTTY ? 0 : error;
}

int FdBlockFile::sync() {
    return ::fdatasync(fd_) == 0 ? 0 : errno;
}

int perform(BlockFile& file, DiskRequest& request) {
    if (request.operation == DiskOperation::kFlush) return file.sync();
    if (request.length == 0) return 0;
    if (request.place.is_any()) return move_in_place(file, request);
    switch (request.operation) {
        case DiskOperation::kRead:
            return file.read(request.buffer.bytes().first(request.length), request.offset);
        case DiskOperation::kWrite:
            return file.write(std::span(request.data).first(request.length), request.offset);
        case DiskOperation::kDiscard:
            return file.discard(request.offset, request.length);
        default:
            return file.zero(request.offset, request.length);
    }
}

}  // namespace ftvmm::host
