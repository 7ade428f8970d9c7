// Signals to the process, one after another, on a thread of their own.
#pragma once

#include <signal.h>

#include <atomic>
#include <functional>
#include <initializer_list>
#include <thread>

namespace ftvmm {

// Takes each of `signals` that is sent to the process and calls `handler` with its number, on the
// thread inside. Until it is destroyed these signals are kept from the thread that made it and from
// all that are made meanwhile. No signalfd: every signal to any thread, and the vCPU's gets
// thousands, would wake who polls one. The destructor waits for the call under way.
class SignalThread {
  public:
    SignalThread(std::initializer_list<int> signals, std::function<void(int)> handler);
    SignalThread(const SignalThread&) = delete;
    SignalThread& operator=(const SignalThread&) = delete;
    ~SignalThread();

  private:
    void work();

    sigset_t signals_{};
    sigset_t before_{};
    int first_;
    std::function<void(int)> handler_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace ftvmm
