// A socket of the file system that a process listens at.
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::host {

// The address of the socket at `path`. An error, which begins with `what`: it is empty or too long.
Result<sockaddr_un> socket_address(const std::string& path, std::string_view what);

// Listens, and never blocks. The file is for its owner alone, and goes away with this.
class SocketFile {
  public:
    // A file that nobody listens at any more is replaced. An error, which begins with `what`: there
    // is a socket in use, or something else than a socket. `waiting` may wait to be let in.
    static Result<SocketFile> listen(const std::string& path, std::string_view what, int waiting);
    SocketFile(SocketFile&& other) noexcept;
    SocketFile& operator=(SocketFile&&) = delete;
    SocketFile(const SocketFile&) = delete;
    SocketFile& operator=(const SocketFile&) = delete;
    ~SocketFile();

    // Readable where somebody waits; for accept4(2).
    [[nodiscard]] int fd() const { return listener_.get(); }

  private:
    SocketFile(std::string path, Fd listener);

    std::string path_;  // Empty: moved from.
    dev_t device_ = 0;  // Of the file, to know it again.
    ino_t inode_ = 0;
    Fd listener_;
};

}  // namespace ftvmm::host
