// Where a run tells whoever connects what it is doing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "vmm/host/event_fd.h"
#include "vmm/host/socket_file.h"

namespace ftvmm::cli {

// Whoever connects to the socket is given one document, and the connection is closed; what he sends
// is not read. The document goes into the socket's buffer at once, or is cut: nobody is waited for,
// and none is kept. For the socket's owner alone.
class ControlSocket {
  public:
    // Documents are shorter than any socket's buffer on Linux.
    static constexpr std::size_t kMostBytes = std::size_t{64} << 10U;
    // More that come at a time wait, or are turned away by the kernel.
    static constexpr int kMaxWaiting = 8;

    // As of host::SocketFile. `document` is called on the thread inside.
    static Result<std::unique_ptr<ControlSocket>> listen(const std::string& path,
                                                         std::function<std::string()> document);
    ControlSocket(const ControlSocket&) = delete;
    ControlSocket& operator=(const ControlSocket&) = delete;
    // Waits for the call under way.
    ~ControlSocket();

  private:
    ControlSocket(host::SocketFile listener, host::EventFd stop,
                  std::function<std::string()> document);
    void work();
    // False: there is nothing to accept one with.
    [[nodiscard]] bool answer_one() const;

    host::SocketFile listener_;
    host::EventFd stop_;
    std::function<std::string()> document_;
    std::thread thread_;
};

}  // namespace ftvmm::cli
