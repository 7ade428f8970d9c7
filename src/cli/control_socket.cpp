#include "cli/control_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::cli {

Result<std::unique_ptr<ControlSocket>> ControlSocket::listen(
    const std::string& path, std::function<std::string()> document) {
    FTVMM_ASSIGN(auto listener,
                 host::SocketFile::listen(path, "control socket " + path, kMaxWaiting));
    FTVMM_ASSIGN(auto stop, host::EventFd::create());
    return std::unique_ptr<ControlSocket>(
        new ControlSocket(std::move(listener), std::move(stop), std::move(document)));
}

ControlSocket::ControlSocket(host::SocketFile listener, host::EventFd stop,
                             std::function<std::string()> document)
    : listener_(std::move(listener)), stop_(std::move(stop)), document_(std::move(document)) {
    thread_ = quiet_thread([this] { work(); });
}

ControlSocket::~ControlSocket() {
    stop_.signal();
    thread_.join();
}

void ControlSocket::work() {
    // Until descriptors or memory are there again.
    constexpr int kRestMs = 1000;
    bool may_accept = true;
    while (true) {
        std::array<pollfd, 2> waits{pollfd{stop_.get(), POLLIN, 0},
                                    pollfd{listener_.fd(), POLLIN, 0}};
        const nfds_t count = may_accept ? 2 : 1;
        if (::poll(waits.data(), count, may_accept ? -1 : kRestMs) < 0) continue;
        if (waits[0].revents != 0) return;
        may_accept = waits[1].revents == 0 || answer_one();
    }
}

bool ControlSocket::answer_one() const {
    const Fd client(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client.valid()) return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    const std::string text = document_();
    (void)::send(client.get(), text.data(), std::min(text.size(), kMostBytes),
                 MSG_DONTWAIT | MSG_NOSIGNAL);
    return true;
}

}  // namespace ftvmm::cli
