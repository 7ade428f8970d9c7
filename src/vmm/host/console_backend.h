// Where the guest's console is seen and typed at.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace ftvmm::host {

// Never waits, whatever its user does: what a slow one cannot take is kept up to a limit, then its
// oldest bytes are lost. Owned and called by one thread, the io thread.
class ConsoleBackend {
  public:
    ConsoleBackend() = default;
    ConsoleBackend(const ConsoleBackend&) = delete;
    ConsoleBackend& operator=(const ConsoleBackend&) = delete;
    virtual ~ConsoleBackend() = default;

    // Readable when service() has something to do; -1: it never has.
    [[nodiscard]] virtual int fd() const = 0;
    // Does what is due, and gives what was typed, at most `room` bytes. With no room what is typed
    // stays where it is and does not make fd() readable, until the next call that has room.
    [[nodiscard]] virtual std::vector<std::byte> service(std::size_t room) = 0;
    // An error: these bytes are lost. It may be tried again with others.
    virtual Result<void> print(std::span<const std::byte> bytes) = 0;
    // The user asked to leave.
    [[nodiscard]] virtual bool left() const { return false; }
};

}  // namespace ftvmm::host
