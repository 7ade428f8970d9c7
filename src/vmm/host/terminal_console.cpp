#include "vmm/host/terminal_console.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "base/clock.h"

namespace ftvmm::host {

namespace {

enum Tag : std::uint64_t { kIn, kOut };

// The same file, opened once more so that O_NONBLOCK is ours alone. A socket cannot be opened
// again, and is no shell's either.
Result<Fd> without_waiting(int fd, int access) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    Fd again(::open(path.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_APPEND));
    if (again.valid()) return again;
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid() || ::fcntl(copy.get(), F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        return Failure(Error::from_errno(errno, "the console's descriptor"));
    }
    return copy;
}

}  // namespace

Result<std::unique_ptr<TerminalConsole>> TerminalConsole::attach(int in, int out) {
    FTVMM_ASSIGN(Fd own_in, without_waiting(in, O_RDONLY));
    FTVMM_ASSIGN(Fd own_out, without_waiting(out, O_WRONLY));
    FTVMM_ASSIGN(Epoll epoll, Epoll::create());
    std::unique_ptr<TerminalConsole> console(
        new TerminalConsole(std::move(own_in), std::move(own_out), std::move(epoll)));
    if (::isatty(in) != 0) {
        FTVMM_ASSIGN(RawTerminal raw, RawTerminal::enter(console->in_.get()));
        console->raw_.emplace(std::move(raw));
    }
    return console;
}

// What epoll refuses (a file, /dev/null) has nothing to type.
TerminalConsole::TerminalConsole(Fd in, Fd out, Epoll epoll)
    : in_(std::move(in)), out_(std::move(out)), epoll_(std::move(epoll)) {
    reads_ = epoll_.add(in_.get(), EPOLLIN, kIn).has_value();
}

TerminalConsole::~TerminalConsole() {
    const SystemClock clock;
    const Instant end = clock.now() + kFarewell;
    while (waits_for_output_) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - clock.now());
        pollfd state{out_.get(), POLLOUT, 0};
        if (left.count() <= 0 || ::poll(&state, 1, static_cast<int>(left.count())) == 0) return;
        if (!write_out()) return;
    }
}

std::vector<std::byte> TerminalConsole::service(std::size_t room) {
    // A hang-up that is told once is told with this.
    std::array<epoll_event, 2> told{};
    (void)epoll_.wait(told, 0);
    if (waits_for_output_) (void)write_out();
    if (reads_ && has_room_ != (room > 0)) {
        // Without room a hang-up is told once.
        epoll_.modify(in_.get(), room > 0 ? EPOLLIN : EPOLLET, kIn);
    }
    has_room_ = room > 0;
    if (!reads_ || !has_room_) return {};
    std::array<char, 4096> keys{};
    // The filter may give a key more than it was fed.
    const ssize_t got = ::read(in_.get(), keys.data(), std::min(room - 1, keys.size()));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (got <= 0) {
        if (room > 1) stop_reading();
        return {};
    }
    const std::string typed = filter_.feed({keys.data(), static_cast<std::size_t>(got)});
    if (left()) {
        stop_reading();
        if (raw_) raw_->restore();
    }
    const auto bytes = std::as_bytes(std::span(typed));
    return {bytes.begin(), bytes.end()};
}

void TerminalConsole::stop_reading() {
    if (reads_) epoll_.remove(in_.get());
    reads_ = false;
}

Result<void> TerminalConsole::print(std::span<const std::byte> bytes) {
    tail_.append(bytes);
    return waits_for_output_ ? Result<void>{} : write_out();
}

Result<void> TerminalConsole::write_out() {
    while (true) {
        position_ = tail_.next(position_);
        const auto bytes = tail_.from(position_);
        if (bytes.empty()) break;
        const ssize_t written = ::write(out_.get(), bytes.data(), bytes.size());
        if (written >= 0) {
            position_ += static_cast<std::uint64_t>(written);
        } else if (errno == EAGAIN) {
            wait_for_output(true);
            return {};
        } else if (errno != EINTR) {
            const int error = errno;
            position_ = tail_.end();
            wait_for_output(false);
            return Failure(Error::from_errno(error, "console output to the terminal is lost"));
        }
    }
    wait_for_output(false);
    return {};
}

void TerminalConsole::wait_for_output(bool on) {
    if (on == waits_for_output_) return;
    if (on) {
        if (!epoll_.add(out_.get(), EPOLLOUT, kOut)) return;
    } else {
        epoll_.remove(out_.get());
    }
    waits_for_output_ = on;
}

}  // namespace ftvmm::host
