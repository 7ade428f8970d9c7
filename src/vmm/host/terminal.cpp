#include "vmm/host/terminal.h"

#include <cerrno>
#include <utility>

namespace ftvmm::host {

std::string EscapeFilter::feed(std::string_view keys) {
    std::string passed;
    for (const char key : keys) {
        if (left()) break;
        if (key == kEscape) {
            state_ = state_ == State::kHeld ? State::kLeft : State::kHeld;
            continue;
        }
        if (state_ == State::kHeld) passed += kEscape;
        state_ = State::kPlain;
        passed += key;
    }
    return passed;
}

Result<RawTerminal> RawTerminal::enter(int fd) {
    termios before{};
    if (::tcgetattr(fd, &before) != 0) {
        return Failure(
            Error::from_errno(errno, "the console needs a terminal", "run it in a terminal"));
    }
    termios raw = before;
    ::cfmakeraw(&raw);
    if (::tcsetattr(fd, TCSANOW, &raw) != 0) return Failure(Error::from_errno(errno, "terminal"));
    return RawTerminal(fd, before);
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}

void RawTerminal::restore() noexcept {
    if (fd_ < 0) return;
    const int saved = errno;
    (void)::tcsetattr(fd_, TCSANOW, &before_);
    errno = saved;
    fd_ = -1;
}

}  // namespace ftvmm::host
