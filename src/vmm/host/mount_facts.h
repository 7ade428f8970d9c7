// What a file system's mount says of its locks.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "vmm/host/disk_file.h"

namespace ftvmm::host {

// Whether a lock on a file of that device is one for this host alone, as far as `mountinfo`, the
// text of /proc/self/mountinfo, tells (proc(5)). Pure.
[[nodiscard]] bool has_local_locks(std::string_view mountinfo, dev_t device);
// The same of the disk's file; a block device's locks are always this host's own.
[[nodiscard]] Result<bool> has_local_locks(const DiskFile& disk);

}  // namespace ftvmm::host
