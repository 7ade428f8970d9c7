#include "vmm/host/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace ftvmm::host {

namespace {

// OFD locks, never POSIX ones: those vanish at any close in the process, with I/O still in flight.
// False: it is taken.
Result<bool> lock(const Fd& fd, const std::string& path, bool read_only) {
    struct flock whole {};
    whole.l_type = read_only ? F_RDLCK : F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd.get(), F_OFD_SETLK, &whole) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    return Failure(Error::from_errno(errno, "disk " + path + " cannot be locked",
                                     "keep disks on a file system with fcntl locks"));
}

// Whether a read of one sector gets past the page cache. What statx(2) tells comes first: a hole is
// read at any alignment.
bool direct_by_sectors(const Fd& fd) {
    struct statx facts {};
    if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 &&
        (facts.stx_mask & STATX_DIOALIGN) != 0) {
        return facts.stx_dio_offset_align != 0 && facts.stx_dio_offset_align <= kSectorBytes &&
               facts.stx_dio_mem_align <= kBufferAlignment;
    }
    AlignedBuffer sector(kBufferAlignment);
    return ::pread(fd.get(), sector.bytes().data(), kSectorBytes, 0) == kSectorBytes;
}

Result<std::uint64_t> size_of(const Fd& fd, const std::string& path, const struct stat& facts) {
    std::uint64_t size = 0;
    if (S_ISREG(facts.st_mode)) {
        size = static_cast<std::uint64_t>(facts.st_size);
    } else if (!S_ISBLK(facts.st_mode)) {
        return fail("disk " + path + " is neither a file nor a block device",
                    "name a raw image or a block device");
    } else if (::ioctl(fd.get(), BLKGETSIZE64, &size) != 0) {
        return Failure(Error::from_errno(errno, "size of disk " + path));
    }
    if (size == 0 || size % kSectorBytes != 0) {
        return fail("disk " + path + " is not a whole number of sectors of 512 bytes",
                    "set its size with: truncate -s 10G FILE");
    }
    return size;
}

// Opened for direct I/O where that is possible, and whether it was.
struct Opened {
    Fd fd;
    bool direct = false;
};

Result<Opened> open_best(const std::string& path, int flags) {
    // O_NONBLOCK: a pipe would wait for its other end, only to be refused.
    auto direct = Fd::open(path, flags | O_DIRECT | O_NONBLOCK);
    if (direct && direct_by_sectors(*direct)) return Opened{std::move(*direct), true};
    auto buffered = Fd::open(path, flags | O_NONBLOCK);
    if (!buffered) return Failure(buffered.error().with_context("disk"));
    return Opened{std::move(*buffered), false};
}

}  // namespace

Result<DiskFile> DiskFile::open(const std::string& path, DiskAccess access, DiskLock lock) {
    const bool read_only = access == DiskAccess::kReadOnly;
    FTVMM_ASSIGN(Opened opened, open_best(path, read_only ? O_RDONLY : O_RDWR));
    struct stat facts {};
    if (::fstat(opened.fd.get(), &facts) != 0) return Failure(Error::from_errno(errno, path));
    DiskFile disk;
    FTVMM_ASSIGN(disk.size_, size_of(opened.fd, path, facts));
    disk.fd_ = std::move(opened.fd);
    disk.path_ = path;
    disk.direct_ = opened.direct;
    disk.read_only_ = read_only;
    disk.block_device_ = S_ISBLK(facts.st_mode);
    FTVMM_ASSIGN(const bool locked, disk.try_lock());
    if (!locked && lock == DiskLock::kRequired) {
        return fail("disk " + path + " is held by another VM",
                    "stop that VM, or give this one a disk of its own");
    }
    return disk;
}

Result<bool> DiskFile::try_lock() {
    if (!locked_) {
        FTVMM_ASSIGN(locked_, lock(fd_, path_, read_only_));
    }
    return locked_;
}

int DiskFile::refusal(const DiskRequest& request) const {
    const DiskOperation operation = request.operation;
    if (operation == DiskOperation::kFlush) return 0;
    const bool moves = operation == DiskOperation::kRead || operation == DiskOperation::kWrite;
    if (read_only_ && operation != DiskOperation::kRead) return EROFS;
    if (request.offset % kSectorBytes != 0 || request.length % kSectorBytes != 0) return EINVAL;
    if (request.offset > size_ || request.length > size_ - request.offset) return EINVAL;
    const std::size_t room = request.place.is_any()                       ? request.place.size()
                             : request.operation == DiskOperation::kWrite ? request.data.size()
                                                                          : request.buffer.size();
    if (moves && request.length > room) return EINVAL;
    return 0;
}

Result<std::uint64_t> disk_size(const std::string& path) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat facts {};
    if (!fd.valid() || ::fstat(fd.get(), &facts) != 0) {
        return Failure(Error::from_errno(errno, "disk " + path));
    }
    return size_of(fd, path, facts);
}

}  // namespace ftvmm::host
