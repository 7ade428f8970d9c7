#include "node/fence_agent.h"

#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/clock.h"
#include "base/fd.h"

namespace ftvmm::node {

namespace {

// How often it is looked whether to stop.
constexpr int kLookEveryMs = 100;

// In a process group of its own, with the signals of a new process.
Result<pid_t> spawn(const FenceAgent& agent) {
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none{};
    sigset_t all{};
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::string command = agent.command;
    std::string host = agent.host;
    std::string vm = agent.vm;
    const std::array<char*, 4> arguments{command.data(), host.data(), vm.data(), nullptr};
    pid_t child = -1;
    const int error =
        ::posix_spawn(&child, command.c_str(), nullptr, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) return Failure(Error::from_errno(error, command));
    return child;
}

// Whether it ended by itself.
bool await_end(pid_t child, const FenceAgent& agent, const std::atomic<bool>& stops) {
    const Fd ends(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    const SystemClock clock;
    const Instant begun = clock.now();
    while (!stops && clock.now() - begun < agent.deadline) {
        pollfd end{ends.get(), POLLIN, 0};
        if (::poll(&end, 1, kLookEveryMs) == 1) return true;
    }
    return false;
}

}  // namespace

Result<void> fence(const FenceAgent& agent, const std::atomic<bool>& stops) {
    FTVMM_ASSIGN(const pid_t child, spawn(agent));
    const bool has_ended = await_end(child, agent, stops);
    // What it left behind in its group goes too.
    if (!has_ended) (void)::kill(-child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!has_ended) {
        return fail(fmt::format("{} {} did not end in time", agent.command, agent.host));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return fail(fmt::format("{} {} failed: {} {}", agent.command, agent.host,
                            WIFEXITED(status) ? "exit code" : "signal",
                            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

}  // namespace ftvmm::node
