// The guest's console on a socket of the file system.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "vmm/host/console_backend.h"
#include "vmm/host/console_tail.h"
#include "vmm/host/epoll.h"
#include "vmm/host/socket_file.h"

namespace ftvmm::host {

// All that are connected see the same and may type. A new one is first shown the last kTailBytes;
// one that reads too slowly to stay within them misses what is older. The socket's file is for its
// owner alone and goes away with it.
class ConsoleSocket final : public ConsoleBackend {
  public:
    static constexpr std::size_t kTailBytes = std::size_t{64} * 1024;
    // A few people and a logger; more are turned away.
    static constexpr std::size_t kMaxClients = 8;

    // A socket's file that nobody listens at any more is replaced. An error where `path` is in use,
    // or something else than a socket.
    static Result<std::unique_ptr<ConsoleSocket>> listen(const std::string& path);
    ConsoleSocket(const ConsoleSocket&) = delete;
    ConsoleSocket& operator=(const ConsoleSocket&) = delete;
    ~ConsoleSocket() override = default;

    [[nodiscard]] int fd() const override { return epoll_.get(); }
    [[nodiscard]] std::vector<std::byte> service(std::size_t room) override;
    Result<void> print(std::span<const std::byte> bytes) override;
    [[nodiscard]] std::size_t clients() const { return clients_.size(); }

  private:
    struct Client {
        Fd fd;
        std::uint64_t position = 0;  // In the tail.
        bool types = true;           // Until it ends its side of the connection.
        bool gone = false;
        std::uint32_t waits_for = 0;  // As epoll has it.
    };
    ConsoleSocket(SocketFile listener, Epoll epoll)
        : listener_(std::move(listener)), epoll_(std::move(epoll)) {}

    void listen_again();
    void accept_all();
    void read_from(Client& client, std::size_t room, std::vector<std::byte>& typed) const;
    void write_to(Client& client) const;
    // Forgets those that are gone, and tells epoll what the others wait for.
    void settle();

    SocketFile listener_;
    Epoll epoll_;
    bool listening_ = true;
    bool has_room_ = true;
    ConsoleTail tail_{kTailBytes};
    std::vector<Client> clients_;
};

}  // namespace ftvmm::host
