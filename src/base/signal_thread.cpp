#include "base/signal_thread.h"

#include <pthread.h>

#include <utility>

#include "base/check.h"
#include "base/quiet_thread.h"

namespace ftvmm {

SignalThread::SignalThread(std::initializer_list<int> signals, std::function<void(int)> handler)
    : first_(*signals.begin()), handler_(std::move(handler)) {
    ::sigemptyset(&signals_);
    for (const int signal : signals)
        ::sigaddset(&signals_, signal);
    (void)::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = quiet_thread([this] { work(); });
}

SignalThread::~SignalThread() {
    stopping_ = true;
    FTVMM_CHECK(::pthread_kill(thread_.native_handle(), first_) == 0, "the thread lives");
    thread_.join();
    (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void SignalThread::work() {
    while (true) {
        const int signal = ::sigwaitinfo(&signals_, nullptr);
        if (stopping_) return;
        if (signal > 0) handler_(signal);
    }
}

}  // namespace ftvmm
