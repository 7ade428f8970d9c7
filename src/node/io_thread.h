// The thread between the guest and the host's network, consoles and signals.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/spsc_queue.h"
#include "node/doorbell.h"
#include "node/input_lane.h"
#include "node/log.h"
#include "node/nic_port.h"
#include "node/vcpu_control.h"
#include "replay/input.h"
#include "replay/output.h"
#include "vmm/host/console_backend.h"
#include "vmm/host/epoll.h"
#include "vmm/host/tap.h"

namespace ftvmm::node {

// Where one of the guest's consoles is seen and typed at; a console may have several.
struct NodeConsole {
    replay::ConsolePort port{};
    std::unique_ptr<host::ConsoleBackend> backend;
};

struct IoOptions {
    std::vector<host::Tap> taps;  // One for each of the guest's cards.
    std::vector<NodeConsole> consoles;
    // From the press of the power button to the end of the power.
    std::chrono::seconds grace{60};
    Log log;
    // As of NicPort; what was printed waits until it holds again. Outlives the thread.
    const OutputRight* right = nullptr;
};

// Who asks the VM to end, or a console's user who leaves, presses the guest's power button first; a
// second time, or `grace`, ends the power. The destructor ends the thread; what the consoles took
// is printed, if it may be.
class IoThread {
  public:
    using Bytes = std::vector<std::byte>;
    // Of what the guest prints, and of what is typed: each of some bytes.
    static constexpr std::size_t kMaxPrints = 1024;
    // Of what waits to be printed: more would be memory that a guest takes from its host.
    static constexpr std::size_t kMaxPrintBytes = std::size_t{4} << 20U;
    static constexpr std::size_t kMaxTyped = 64;
    // Typed in one piece; a paste takes several.
    static constexpr std::size_t kTypedBytes = 4096;

    // `control` outlives it.
    static Result<std::unique_ptr<IoThread>> start(IoOptions options, VcpuControl& control);
    IoThread(IoOptions options, VcpuControl& control, Doorbell bell, host::Epoll epoll);
    IoThread(const IoThread&) = delete;
    IoThread& operator=(const IoThread&) = delete;
    ~IoThread();

    // Any thread. `why` is a string literal.
    void ask_to_end(const char* why);

    // The vCPU thread's own.
    [[nodiscard]] std::deque<NicPort>& nics() { return nics_; }
    [[nodiscard]] InputLane<Bytes>& typed(replay::ConsolePort port);
    // False: there is no room, `output` is untouched, and the waker wakes when there is.
    [[nodiscard]] bool try_print(replay::output::ConsoleBytes&& output);

  private:
    struct Watched {
        std::uint32_t interest = 0;
        bool gone = false;
    };

    [[nodiscard]] Result<void> watch_all();
    void work();
    [[nodiscard]] int patience_ms() const;
    void on_event(const epoll_event& event);
    void on_nic(std::size_t index, std::uint32_t events);
    void on_console(std::size_t index);
    void end_guest(const char* why);
    [[nodiscard]] bool may_print() const { return right_ == nullptr || right_->holds(); }
    void print_all();
    // Looks at what the vCPU thread may have changed.
    void settle();

    VcpuControl& control_;
    Doorbell bell_;
    std::deque<NicPort> nics_;
    InputLane<Bytes> typed_serial_;
    InputLane<Bytes> typed_virtio_;
    SpscQueue<replay::output::ConsoleBytes> prints_;
    std::atomic<std::size_t> print_bytes_{0};
    std::atomic<int> print_starved_{0};  // The vCPU thread waits for room in prints_.
    std::atomic<bool> stopping_{false};
    std::atomic<const char*> asked_why_{""};
    std::atomic<std::uint64_t> times_asked_{0};

    host::Epoll epoll_;  // The thread's own, like what follows.
    std::vector<Watched> watched_;
    std::vector<NodeConsole> consoles_;
    std::vector<RateLimit> console_failures_;
    std::array<bool, 2> has_room_{true, true};  // By console port: what is typed can be taken.
    std::chrono::seconds grace_;
    const OutputRight* right_;
    std::optional<Instant> power_ends_at_;
    std::uint64_t times_heard_ = 0;
    Log log_;
    SystemClock clock_;
    std::vector<std::byte> scratch_;
    std::thread thread_;
};

}  // namespace ftvmm::node
