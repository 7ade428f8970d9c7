// What the user asks of a running VM by a signal.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::cli {

// SIGUSR1 calls `on_usr1` and SIGUSR2 `on_usr2`, on a thread of this object. Both signals are kept
// from every thread that is made after start(), and from the calling one. The destructor ends the
// thread, after the call under way.
class RunRequests {
  public:
    struct Handlers {
        std::function<void()> on_usr1;
        std::function<void()> on_usr2;
    };
    static Result<std::unique_ptr<RunRequests>> start(Handlers handlers);
    RunRequests(Handlers handlers, Fd signals, host::EventFd stop);
    RunRequests(const RunRequests&) = delete;
    RunRequests& operator=(const RunRequests&) = delete;
    ~RunRequests();

  private:
    void work();

    Handlers handlers_;
    Fd signals_;
    host::EventFd stop_;
    std::thread thread_;
};

}  // namespace ftvmm::cli
