#include "vmm/host/console_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace ftvmm::host {

Result<std::unique_ptr<ConsoleLog>> ConsoleLog::open(const std::string& path) {
    constexpr mode_t kOwnerOnly = 0600;
    Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, kOwnerOnly));
    if (!file.valid()) return Failure(Error::from_errno(errno, "console log " + path));
    return std::unique_ptr<ConsoleLog>(new ConsoleLog(path, std::move(file)));
}

Result<void> ConsoleLog::print(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            return Failure(Error::from_errno(written < 0 ? errno : EIO,
                                             "console output is missing in " + path_));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace ftvmm::host
