#include "vmm/host/debug_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace ftvmm::host {

namespace {

constexpr mode_t kOwnerOnly = 0600;
constexpr std::byte kInterrupt{3};
constexpr std::size_t kChunk = 4096;

Result<Fd> listen_at(int family, const sockaddr* address, socklen_t bytes,
                     const std::string& what) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    // Linux gives a socket's file the socket's own mode, so that it is never open to others.
    const bool is_ready = fd.valid() &&
                          (family == AF_UNIX ? ::fchmod(fd.get(), kOwnerOnly)
                                             : ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on,
                                                            sizeof on)) == 0 &&
                          ::bind(fd.get(), address, bytes) == 0 && ::listen(fd.get(), 1) == 0;
    if (!is_ready) {
        return Failure(Error::from_errno(
            errno, what, "name another place, or remove a socket that nobody listens at"));
    }
    return fd;
}

Result<std::uint16_t> port_of(const std::string& text) {
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, port);
    if (read.ec == std::errc() && read.ptr == end && port != 0) return port;
    return fail("--debug-port " + text + " is neither a port nor a path",
                "write 1234, or ./debug.sock");
}

template <class Address>
const sockaddr* generic(const Address& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

Result<DebugSocket> DebugSocket::listen(const std::string& where) {
    const std::string what = "waiting for a debugger at " + where;
    if (where.find('/') == std::string::npos) {
        FTVMM_ASSIGN(const std::uint16_t port, port_of(where));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        FTVMM_ASSIGN(auto fd, listen_at(AF_INET, generic(address), sizeof address, what));
        return DebugSocket({}, std::move(fd));
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (where.size() >= sizeof address.sun_path) {
        return fail(what + ": the path is too long for a socket", "name a shorter one");
    }
    std::memcpy(&address.sun_path, where.data(), where.size());
    FTVMM_ASSIGN(auto fd, listen_at(AF_UNIX, generic(address), sizeof address, what));
    return DebugSocket(where, std::move(fd));
}

DebugSocket::DebugSocket(DebugSocket&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      listener_(std::move(other.listener_)),
      connection_(std::move(other.connection_)),
      early_(std::move(other.early_)) {}

DebugSocket::~DebugSocket() {
    if (!path_.empty()) (void)::unlink(path_.c_str());
}

Result<void> DebugSocket::accept() {
    while (!connection_.valid()) {
        connection_ = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (connection_.valid() || errno == EINTR || errno == ECONNABORTED) continue;
        return Failure(Error::from_errno(errno, "letting a debugger in"));
    }
    listener_ = Fd();
    const int on = 1;
    // Packets are short and each is waited for. A socket of the file system has no such delay.
    if (path_.empty())
        (void)::setsockopt(connection_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return {};
}

Result<std::vector<std::byte>> DebugSocket::receive() {
    if (!early_.empty()) return std::exchange(early_, {});
    std::vector<std::byte> bytes(kChunk);
    while (true) {
        const ssize_t got = ::recv(connection_.get(), bytes.data(), bytes.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        // A debugger that was killed is gone like any other.
        bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return bytes;
    }
}

Result<void> DebugSocket::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(connection_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return Failure(Error::from_errno(errno, "answering the debugger"));
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
}

bool DebugSocket::is_interrupted() {
    std::array<std::byte, kChunk> bytes{};
    // A debugger waits for the stop: it has no more to say than fits.
    const ssize_t got = early_.size() < kChunk
                            ? ::recv(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)
                            : -1;
    if (got == 0) return true;
    if (got > 0) early_.insert(early_.end(), bytes.begin(), bytes.begin() + got);
    return std::erase(early_, kInterrupt) > 0;
}

}  // namespace ftvmm::host
