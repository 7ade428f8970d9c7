#include "vmm/host/socket_file.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace ftvmm::host {

namespace {

constexpr mode_t kOwnerOnly = 0600;

Result<Fd> new_socket(std::string_view what) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return Failure(Error::from_errno(errno, what));
    return fd;
}

// Makes way for a socket at `path`, if what is there may go.
Result<void> clear(const std::string& path, const sockaddr_un& address, std::string_view what) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) return {};
        return Failure(Error::from_errno(errno, what));
    }
    if (!S_ISSOCK(found.st_mode)) {
        return fail(fmt::format("{}: a file that is no socket is there", what),
                    "move it, or name another path");
    }
    FTVMM_ASSIGN(const Fd probe, new_socket(what));
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (::connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN) {
        return fail(fmt::format("{}: another process listens there", what),
                    "stop it, or name another path");
    }
    if (errno == ENOENT) return {};
    if (errno != ECONNREFUSED) return Failure(Error::from_errno(errno, what));
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Failure(
            Error::from_errno(errno, fmt::format("{}: removing the stale socket", what)));
    }
    return {};
}

}  // namespace

Result<sockaddr_un> socket_address(const std::string& path, std::string_view what) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return fail(fmt::format("{}: the path has to have 1 to {} bytes", what,
                                sizeof address.sun_path - 1),
                    "name a shorter one, as in /run/ftvmm");
    }
    std::memcpy(&address.sun_path, path.data(), path.size());
    return address;
}

Result<SocketFile> SocketFile::listen(const std::string& path, std::string_view what, int waiting) {
    FTVMM_ASSIGN(const sockaddr_un address, socket_address(path, what));
    FTVMM_TRY(clear(path, address, what));
    FTVMM_ASSIGN(Fd listener, new_socket(what));
    // Linux gives the file the socket's own mode, so that it is never open to others.
    if (::fchmod(listener.get(), kOwnerOnly) != 0 ||
        ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), waiting) != 0) {
        return Failure(Error::from_errno(errno, what));
    }
    return SocketFile(path, std::move(listener));
}

SocketFile::SocketFile(std::string path, Fd listener)
    : path_(std::move(path)), listener_(std::move(listener)) {
    struct stat made {};
    if (::lstat(path_.c_str(), &made) == 0) {
        device_ = made.st_dev;
        inode_ = made.st_ino;
    }
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_),
      listener_(std::move(other.listener_)) {}

SocketFile::~SocketFile() {
    if (path_.empty()) return;
    struct stat found {};
    const bool still_ours =
        ::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_;
    if (still_ours) (void)::unlink(path_.c_str());
}

}  // namespace ftvmm::host
