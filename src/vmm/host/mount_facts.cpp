#include "vmm/host/mount_facts.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>

namespace ftvmm::host {

namespace {

// As NFS and GFS2 write them.
constexpr std::array<std::string_view, 4> kLocalLocks{"nolock", "local_lock=all",
                                                      "local_lock=posix", "localflocks"};

bool has_word(std::string_view words, char between, std::string_view word) {
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(between), words.size());
        if (words.substr(0, end) == word) return true;
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
}

}  // namespace

bool has_local_locks(std::string_view mountinfo, dev_t device) {
    const std::string number = fmt::format("{}:{}", ::major(device), ::minor(device));
    while (!mountinfo.empty()) {
        const std::size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
        const std::string_view line = mountinfo.substr(0, end);
        mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
        // "ID PARENT MAJOR:MINOR ... - TYPE SOURCE OPTIONS"
        const std::size_t behind = line.find(" - ");
        if (behind == std::string_view::npos || !has_word(line.substr(0, behind), ' ', number)) {
            continue;
        }
        const std::string_view options = line.substr(line.rfind(' ') + 1);
        for (const std::string_view local : kLocalLocks)
            if (has_word(options, ',', local)) return true;
    }
    return false;
}

Result<bool> has_local_locks(const DiskFile& disk) {
    if (disk.block_device()) return true;
    struct stat facts {};
    if (::fstat(disk.fd(), &facts) != 0) return Failure(Error::from_errno(errno, "the disk"));
    std::ifstream file("/proc/self/mountinfo");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return has_local_locks(text, facts.st_dev);
}

}  // namespace ftvmm::host
