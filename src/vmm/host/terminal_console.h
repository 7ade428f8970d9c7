// The guest's console on this process's own terminal, or on a pair of pipes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "vmm/host/console_backend.h"
#include "vmm/host/console_tail.h"
#include "vmm/host/epoll.h"
#include "vmm/host/terminal.h"

namespace ftvmm::host {

// A terminal is raw as long as this lives or until the user leaves by EscapeFilter's keys; from
// then on it is the user's again, and still shows what the guest prints. The destructor gives a
// slow reader kFarewell for what is left.
class TerminalConsole final : public ConsoleBackend {
  public:
    // For a terminal that is stopped or a pipe whose reader is slow.
    static constexpr std::size_t kTailBytes = std::size_t{1} << 20U;
    static constexpr std::chrono::milliseconds kFarewell{1000};

    // `in` and `out` stay the caller's, and whoever shares them finds them as they were.
    static Result<std::unique_ptr<TerminalConsole>> attach(int in, int out);
    TerminalConsole(const TerminalConsole&) = delete;
    TerminalConsole& operator=(const TerminalConsole&) = delete;
    ~TerminalConsole() override;

    [[nodiscard]] int fd() const override { return epoll_.get(); }
    [[nodiscard]] std::vector<std::byte> service(std::size_t room) override;
    Result<void> print(std::span<const std::byte> bytes) override;
    [[nodiscard]] bool left() const override { return filter_.left(); }

  private:
    TerminalConsole(Fd in, Fd out, Epoll epoll);
    void stop_reading();
    [[nodiscard]] Result<void> write_out();
    void wait_for_output(bool on);

    Fd in_;
    Fd out_;
    Epoll epoll_;
    std::optional<RawTerminal> raw_;
    EscapeFilter filter_;
    ConsoleTail tail_{kTailBytes};
    std::uint64_t position_ = 0;
    bool reads_ = false;  // `in_` is in the epoll.
    bool has_room_ = true;
    bool waits_for_output_ = false;
};

}  // namespace ftvmm::host
