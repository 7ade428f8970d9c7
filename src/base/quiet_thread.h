// Threads that no signal ever interrupts.
#pragma once

#include <pthread.h>

#include <csignal>
#include <thread>
#include <utility>

namespace ftvmm {

// Starts `work` on a thread with every signal blocked from its first instruction on, so that a
// signal to the process goes to whoever waits for it, or ends the process as it should, and never
// lands in the middle of a disk request.
template <class Work>
std::thread quiet_thread(Work&& work) {
    sigset_t all{};
    sigset_t before{};
    ::sigfillset(&all);
    (void)::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread(std::forward<Work>(work));
    (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

}  // namespace ftvmm
