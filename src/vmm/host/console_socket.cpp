#include "vmm/host/console_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace ftvmm::host {

namespace {

constexpr mode_t kOwnerOnly = 0600;

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return fail("console socket " + path + ": the path has to have 1 to " +
                        std::to_string(sizeof address.sun_path - 1) + " bytes",
                    "name a shorter one, as in /run/ftvmm");
    }
    std::memcpy(&address.sun_path, path.data(), path.size());
    return address;
}

Result<Fd> new_socket(const std::string& what) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return Failure(Error::from_errno(errno, what));
    return fd;
}

// Makes way for a socket at `path`, if what is there may go.
Result<void> clear(const std::string& path, const sockaddr_un& address, const std::string& what) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) return {};
        return Failure(Error::from_errno(errno, what));
    }
    if (!S_ISSOCK(found.st_mode)) {
        return fail(what + ": a file that is no socket is there", "move it, or name another path");
    }
    FTVMM_ASSIGN(const Fd probe, new_socket(what));
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (::connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN) {
        return fail(what + ": another process listens there", "stop it, or name another path");
    }
    if (errno == ENOENT) return {};
    if (errno != ECONNREFUSED) return Failure(Error::from_errno(errno, what));
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Failure(Error::from_errno(errno, what + ": removing the stale socket"));
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<ConsoleSocket>> ConsoleSocket::listen(const std::string& path) {
    const std::string what = "console socket " + path;
    FTVMM_ASSIGN(const sockaddr_un address, address_of(path));
    FTVMM_TRY(clear(path, address, what));
    FTVMM_ASSIGN(Fd listener, new_socket(what));
    // Linux gives the file the socket's own mode, so that it is never open to others.
    if (::fchmod(listener.get(), kOwnerOnly) != 0 ||
        ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), kMaxClients) != 0) {
        return Failure(Error::from_errno(errno, what));
    }
    FTVMM_ASSIGN(Epoll epoll, Epoll::create());
    FTVMM_TRY(epoll.add(listener.get(), EPOLLIN, static_cast<std::uint64_t>(listener.get())));
    return std::unique_ptr<ConsoleSocket>(
        new ConsoleSocket(path, std::move(listener), std::move(epoll)));
}

ConsoleSocket::ConsoleSocket(std::string path, Fd listener, Epoll epoll)
    : path_(std::move(path)), listener_(std::move(listener)), epoll_(std::move(epoll)) {
    struct stat made {};
    if (::lstat(path_.c_str(), &made) == 0) {
        device_ = made.st_dev;
        inode_ = made.st_ino;
    }
}

ConsoleSocket::~ConsoleSocket() {
    struct stat found {};
    const bool still_ours =
        ::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_;
    if (still_ours) (void)::unlink(path_.c_str());
}

std::vector<std::byte> ConsoleSocket::service(std::size_t room) {
    has_room_ = room > 0;
    // The hang-ups that are told once are told with this.
    std::array<epoll_event, kMaxClients + 1> told{};
    (void)epoll_.wait(told, 0);
    listen_again();
    accept_all();
    std::vector<std::byte> typed;
    for (Client& client : clients_) {
        read_from(client, room - typed.size(), typed);
        write_to(client);
    }
    settle();
    return typed;
}

Result<void> ConsoleSocket::print(std::span<const std::byte> bytes) {
    tail_.append(bytes);
    for (Client& client : clients_)
        write_to(client);
    listen_again();
    settle();
    return {};
}

void ConsoleSocket::listen_again() {
    if (listening_) return;
    epoll_.modify(listener_.get(), EPOLLIN, static_cast<std::uint64_t>(listener_.get()));
    listening_ = true;
}

void ConsoleSocket::accept_all() {
    while (true) {
        Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd.valid()) {
            if (errno == EAGAIN || errno == EINTR) return;
            if (errno == ECONNABORTED) continue;
            // No descriptors or memory are left: who waits is let in when there is more to print.
            epoll_.modify(listener_.get(), 0, static_cast<std::uint64_t>(listener_.get()));
            listening_ = false;
            return;
        }
        if (clients_.size() == kMaxClients) continue;
        if (!epoll_.add(fd.get(), 0, static_cast<std::uint64_t>(fd.get()))) continue;
        clients_.push_back(Client{std::move(fd)});
    }
}

void ConsoleSocket::read_from(Client& client, std::size_t room,
                              std::vector<std::byte>& typed) const {
    std::array<std::byte, 4096> bytes{};
    while (client.types && room > 0) {
        const ssize_t got =
            ::recv(client.fd.get(), bytes.data(), std::min(room, bytes.size()), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) client.gone = true;
        if (got <= 0) {
            client.types = false;
            return;
        }
        typed.insert(typed.end(), bytes.begin(), bytes.begin() + got);
        room -= static_cast<std::size_t>(got);
    }
}

void ConsoleSocket::write_to(Client& client) const {
    while (!client.gone) {
        client.position = tail_.next(client.position);
        const auto bytes = tail_.from(client.position);
        if (bytes.empty()) return;
        const ssize_t sent =
            ::send(client.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) {
            client.gone = true;
        } else {
            client.position += static_cast<std::uint64_t>(sent);
        }
    }
}

void ConsoleSocket::settle() {
    for (Client& client : clients_) {
        // Who has closed both ways would be reported for ever.
        if (!client.types && !client.gone) {
            pollfd state{client.fd.get(), 0, 0};
            client.gone = ::poll(&state, 1, 0) == 1;
        }
        // With no room a hang-up is told once, for the same reason.
        std::uint32_t events = 0;
        if (client.types) events |= has_room_ ? EPOLLIN : EPOLLET;
        if (tail_.next(client.position) != tail_.end()) events |= EPOLLOUT;
        if (!client.gone && events != client.waits_for) {
            epoll_.modify(client.fd.get(), events, static_cast<std::uint64_t>(client.fd.get()));
            client.waits_for = events;
        }
    }
    std::erase_if(clients_, [&](const Client& client) { return client.gone; });
}

}  // namespace ftvmm::host
