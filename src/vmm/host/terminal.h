// The terminal of someone who looks at a guest's console.
#pragma once

#include <termios.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace ftvmm::host {

// Passes keys on to the guest and finds the one that leaves: Ctrl-] twice. The first one is held
// back until the next key; any other key sends both on, so a guest can be given Ctrl-] as well.
//
// state    key       next      sends on
// plain    Ctrl-]    held      nothing
// plain    other     plain     the key
// held     Ctrl-]    left      nothing, now and ever after
// held     other     plain     Ctrl-] and the key
class EscapeFilter {
  public:
    static constexpr char kEscape = 0x1d;

    // What the guest gets of `keys`.
    [[nodiscard]] std::string feed(std::string_view keys);
    [[nodiscard]] bool left() const { return state_ == State::kLeft; }

  private:
    enum class State { kPlain, kHeld, kLeft };
    State state_ = State::kPlain;
};

// Holds a terminal in raw mode: every key goes to the guest, Ctrl-C too. Move-only.
class RawTerminal {
  public:
    // `fd` is open for as long as this lives; an error where it is no terminal.
    static Result<RawTerminal> enter(int fd);
    RawTerminal(RawTerminal&& other) noexcept;
    RawTerminal& operator=(RawTerminal&&) = delete;
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal() { restore(); }

    // Back to how it was; also from a signal handler, and more than once.
    void restore() noexcept;

  private:
    RawTerminal(int fd, const termios& before) : fd_(fd), before_(before) {}

    int fd_;  // -1 once there is nothing to restore.
    termios before_;
};

}  // namespace ftvmm::host
