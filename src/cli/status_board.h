// What a run of this host shows of itself to `ftvmm status`.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "cli/control_socket.h"
#include "cli/vm_status.h"
#include "config/vm_config.h"

namespace ftvmm::cli {

// Where runs listen that are not told where: kControlFolder/NAME.sock.
inline constexpr const char* kControlFolder = "/run/ftvmm";
inline constexpr const char* kControlEnding = ".sock";

// One for as long as the process has the VM, as Secondary and Primary in turn. Any thread.
class StatusBoard {
  public:
    // `path` is where it listens; an error: it can not. Empty: at NAME.sock in `folder`, which is
    // made; where that can not be had it is no error, but a line to standard error.
    static Result<std::unique_ptr<StatusBoard>> open(const std::string& path,
                                                     const config::VmConfig& config,
                                                     const std::string& folder = kControlFolder);
    StatusBoard(const StatusBoard&) = delete;
    StatusBoard& operator=(const StatusBoard&) = delete;
    ~StatusBoard() = default;

    // From here on `fill` adds what there is to tell, on the socket's thread; it may not wait.
    // Empty: the VM starts, or its run is over. No call of the one before is under way afterwards.
    void show(std::function<void(VmStatus&)> fill);
    [[nodiscard]] VmStatus look() const;
    [[nodiscard]] bool listens() const { return socket_ != nullptr; }

  private:
    explicit StatusBoard(const config::VmConfig& config);

    VmStatus vm_;               // What stays the same.
    mutable std::mutex mutex_;  // Guards what follows.
    std::function<void(VmStatus&)> fill_;
    std::unique_ptr<ControlSocket> socket_;  // Not that. Gone before the others are.
};

}  // namespace ftvmm::cli
