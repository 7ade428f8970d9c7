#include "cli/run_requests.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::cli {

Result<std::unique_ptr<RunRequests>> RunRequests::start(Handlers handlers) {
    sigset_t set{};
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR1);
    ::sigaddset(&set, SIGUSR2);
    (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals.valid()) return Failure(Error::from_errno(errno, "signalfd"));
    FTVMM_ASSIGN(auto stop, host::EventFd::create());
    return std::make_unique<RunRequests>(std::move(handlers), std::move(signals), std::move(stop));
}

RunRequests::RunRequests(Handlers handlers, Fd signals, host::EventFd stop)
    : handlers_(std::move(handlers)),
      signals_(std::move(signals)),
      stop_(std::move(stop)),
      thread_(quiet_thread([this] { work(); })) {}

RunRequests::~RunRequests() {
    stop_.signal();
    thread_.join();
}

void RunRequests::work() {
    while (true) {
        std::array<pollfd, 2> waits{pollfd{signals_.get(), POLLIN, 0},
                                    pollfd{stop_.get(), POLLIN, 0}};
        if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
        if (waits[1].revents != 0) return;
        signalfd_siginfo signal{};
        while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
            (signal.ssi_signo == SIGUSR1 ? handlers_.on_usr1 : handlers_.on_usr2)();
        }
    }
}

}  // namespace ftvmm::cli
