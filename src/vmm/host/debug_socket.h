// Where a debugger connects.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::host {

// One connection, the first that comes. Whoever is let in sees all of a guest: so a port is of this
// host's loopback alone, and a socket's file for its owner. One thread; its signals interrupt
// nothing.
class DebugSocket {
  public:
    // `where`: a port, or the path of a new socket, which is told from one by its "/".
    static Result<DebugSocket> listen(const std::string& where);
    DebugSocket(DebugSocket&& other) noexcept;
    DebugSocket& operator=(DebugSocket&&) = delete;
    DebugSocket(const DebugSocket&) = delete;
    DebugSocket& operator=(const DebugSocket&) = delete;
    ~DebugSocket();

    // Waits for somebody. From then on nobody else is let in.
    [[nodiscard]] Result<void> accept();
    // Waits for bytes; none: the other side is gone.
    [[nodiscard]] Result<std::vector<std::byte>> receive();
    [[nodiscard]] Result<void> send(std::string_view bytes);
    // Whether Ctrl-C has come, or the end of the connection, since the last receive(). What else
    // came is received later.
    [[nodiscard]] bool is_interrupted();

  private:
    DebugSocket(std::string path, Fd listener)
        : path_(std::move(path)), listener_(std::move(listener)) {}

    std::string path_;  // Of the socket's file; empty: a port.
    Fd listener_;
    Fd connection_;
    std::vector<std::byte> early_;
};

}  // namespace ftvmm::host
