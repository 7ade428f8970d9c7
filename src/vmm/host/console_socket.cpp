#include "vmm/host/console_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace ftvmm::host {

Result<std::unique_ptr<ConsoleSocket>> ConsoleSocket::listen(const std::string& path) {
    FTVMM_ASSIGN(auto listener, SocketFile::listen(path, "console socket " + path, kMaxClients));
    FTVMM_ASSIGN(Epoll epoll, Epoll::create());
    FTVMM_TRY(epoll.add(listener.fd(), EPOLLIN, static_cast<std::uint64_t>(listener.fd())));
    return std::unique_ptr<ConsoleSocket>(new ConsoleSocket(std::move(listener), std::move(epoll)));
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
    epoll_.modify(listener_.fd(), EPOLLIN, static_cast<std::uint64_t>(listener_.fd()));
    listening_ = true;
}

void ConsoleSocket::accept_all() {
    while (true) {
        Fd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd.valid()) {
            if (errno == EAGAIN || errno == EINTR) return;
            if (errno == ECONNABORTED) continue;
            // No descriptors or memory are left: who waits is let in when there is more to print.
            epoll_.modify(listener_.fd(), 0, static_cast<std::uint64_t>(listener_.fd()));
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
