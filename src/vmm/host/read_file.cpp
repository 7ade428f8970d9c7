#include "vmm/host/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace ftvmm::host {

Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t max_bytes) {
    FTVMM_ASSIGN(const Fd file, Fd::open(path, O_RDONLY | O_NONBLOCK));
    struct stat facts {};
    if (::fstat(file.get(), &facts) != 0) return Failure(Error::from_errno(errno, path));
    if (!S_ISREG(facts.st_mode)) return fail(path + " is no regular file");
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    constexpr unsigned kMib = 1U << 20U;
    if (size > max_bytes) {
        return fail(fmt::format("{} has {} MiB, and more than {} MiB are not taken", path,
                                size / kMib, max_bytes / kMib));
    }
    std::vector<std::byte> bytes(size);
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Failure(Error::from_errno(errno, path));
        if (got == 0) return fail(path + " was cut short while it was read");
        done += static_cast<std::size_t>(got);
    }
    return bytes;
}

}  // namespace ftvmm::host
