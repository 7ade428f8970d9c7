// The file or block device behind one of the guest's disks.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/host/disk_request.h"

namespace ftvmm::host {

enum class DiskAccess { kReadWrite, kReadOnly };
// kIfFree is for who takes a VM over by another right: the lock of a host that died is held for it
// by the storage, for as long as that can not tell.
enum class DiskLock { kRequired, kIfFree };

// A raw image or block device, locked as long as this lives, see locked(): with an OFD lock,
// exclusive unless read-only, which ends when the last descriptor of this open is closed and its
// I/O has ended (fcntl(2)). Any thread may use its const methods.
class DiskFile {
  public:
    // Bypasses the page cache (O_DIRECT) where the file system can do so by sectors. An error says
    // whether the disk is missing, locked by another VM, or of no use as a disk.
    static Result<DiskFile> open(const std::string& path, DiskAccess access,
                                 DiskLock lock = DiskLock::kRequired);
    // Takes the lock if it has none yet. False: somebody else still has it.
    [[nodiscard]] Result<bool> try_lock();

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] bool direct() const { return direct_; }
    [[nodiscard]] bool read_only() const { return read_only_; }
    [[nodiscard]] bool locked() const { return locked_; }
    [[nodiscard]] bool block_device() const { return block_device_; }

    // 0, or the errno of a request that may not reach the file: outside of it, not in whole
    // sectors, longer than its buffer, or a change to a read-only disk.
    [[nodiscard]] int refusal(const DiskRequest& request) const;

  private:
    DiskFile() = default;

    Fd fd_;
    std::uint64_t size_ = 0;
    bool direct_ = false;
    bool read_only_ = false;
    bool block_device_ = false;
    bool locked_ = false;
    std::string path_;
};

// The bytes of the disk at `path`, which somebody else may have locked. Errors as of open().
[[nodiscard]] Result<std::uint64_t> disk_size(const std::string& path);

}  // namespace ftvmm::host
