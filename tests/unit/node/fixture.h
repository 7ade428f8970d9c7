// A host for toy guests: real threads, socket pairs for taps, files for disks.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "node/host_ports.h"
#include "node/output_hold.h"
#include "node/vcpu_thread.h"
#include "toy_guest.h"
#include "vmm/host/console_backend.h"
#include "vmm/host/disk_engine.h"

namespace ftvmm::node {

// A tap, and the end of the wire that a test holds. Frames keep their limits, as on a tap.
struct Wire {
    host::Tap tap;
    Fd far;
};
inline Wire make_wire() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
            0);
    return {host::Tap::adopt(Fd(ends[0]), "wire"), Fd(ends[1])};
}

// On any thread, so without an assertion: Catch's are for the test's own. A wire that is full takes
// more only once it is three quarters empty (a socket holds some 270 small frames): who also has to
// empty it may not fill it.
inline bool send_frame(const Fd& far, const std::string& text) {
    constexpr int kPatienceMs = 30000;
    while (::send(far.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) {
        if (errno != EAGAIN) return false;
        // A guest that sends is kicked while it waits here.
        pollfd ready{far.get(), POLLOUT, 0};
        const int found = ::poll(&ready, 1, kPatienceMs);
        if (found == 0 || (found < 0 && errno != EINTR)) return false;
    }
    return true;
}
// Empty where none comes.
inline std::string receive_frame(const Fd& far, int patience_ms = 30000) {
    pollfd ready{far.get(), POLLIN, 0};
    if (::poll(&ready, 1, patience_ms) != 1) return {};
    std::array<char, 4096> frame{};
    const ssize_t got = ::recv(far.get(), frame.data(), frame.size(), 0);
    return {frame.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

// Keeps what was printed; any thread may look.
class Printed {
  public:
    void add(std::span<const std::byte> bytes) {
        const std::lock_guard guard(mutex_);
        for (const std::byte byte : bytes)
            text_ += static_cast<char>(byte);
    }
    [[nodiscard]] std::string text() const {
        const std::lock_guard guard(mutex_);
        return text_;
    }

  private:
    mutable std::mutex mutex_;
    std::string text_;
};

class PrintedConsole final : public host::ConsoleBackend {
  public:
    explicit PrintedConsole(std::shared_ptr<Printed> printed) : printed_(std::move(printed)) {}
    [[nodiscard]] int fd() const override { return -1; }
    [[nodiscard]] std::vector<std::byte> service(std::size_t) override { return {}; }
    Result<void> print(std::span<const std::byte> bytes) override {
        printed_->add(bytes);
        return {};
    }

  private:
    std::shared_ptr<Printed> printed_;
};

inline std::vector<std::byte> bytes_of(const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}
inline std::string text_of(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes)
        text += static_cast<char>(byte);
    return text;
}

// What the storage or the Secondary would say, said by a test.
class TestRight final : public OutputRight {
  public:
    [[nodiscard]] bool holds() const override { return holds_; }
    void set(bool holds) { holds_ = holds; }

  private:
    std::atomic<bool> holds_{true};
};

// All threads of a node around one toy guest. run() is on the test's thread.
struct Host {
    explicit Host(IoOptions io_options = {}, std::vector<NodeDisk> node_disks = {},
                  const OutputRight* right = nullptr) {
        const Log log = [this](const std::string& line) {
            logged.add(std::as_bytes(std::span(line)));
        };
        io_options.log = log;
        disks = *DiskThread::start(std::move(node_disks), control.waker(), log, right);
        io = *IoThread::start(std::move(io_options), control);
        ports.emplace(*disks, *io, control, entropy);
        vcpu.emplace(*ports, control, statistics);
    }
    End run(replay::GuestMachine& machine) {
        auto end = vcpu->run(machine, GuestTime{});
        REQUIRE(end);
        return std::move(*end);
    }

    Printed logged;
    VcpuControl control;
    SystemEntropy entropy;
    Statistics statistics;
    std::unique_ptr<DiskThread> disks;
    std::unique_ptr<IoThread> io;
    std::optional<HostPorts> ports;
    std::optional<VcpuThread> vcpu;
};

}  // namespace ftvmm::node
