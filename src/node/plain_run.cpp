#include "node/plain_run.h"

#include <fmt/core.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/random.h"
#include "node/host_ports.h"
#include "vmm/host/wall_clock.h"

namespace ftvmm::node {

namespace {

// Keeps the signals that end a VM from all threads of this process that are made while it lives,
// and gives them to whoever reads a signalfd.
class BlockedSignals {
  public:
    BlockedSignals() {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, SIGTERM);
        ::sigaddset(&signals_, SIGINT);
        (void)::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;
    ~BlockedSignals() { (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    [[nodiscard]] Result<Fd> open() const {
        Fd fd(::signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!fd.valid()) return Failure(Error::from_errno(errno, "signalfd"));
        return fd;
    }

  private:
    sigset_t signals_{};
    sigset_t before_{};
};

// Nobody's call waits for an answer once the run is over, however it ended.
class Closing {
  public:
    explicit Closing(VcpuControl& control) : control_(control) {}
    Closing(const Closing&) = delete;
    Closing& operator=(const Closing&) = delete;
    ~Closing() { control_.close(); }

  private:
    VcpuControl& control_;
};

// One power-on, to its end.
Result<End> live(const PowerOn& power_on, VcpuThread& vcpu) {
    FTVMM_ASSIGN(const auto guest, power_on());
    if (guest.start) return vcpu.run(*guest.machine, *guest.start);
    vcpu.apply(*guest.machine, replay::input::WallClock{host::SystemWallClock().now()});
    return vcpu.run(*guest.machine, GuestTime{});
}

}  // namespace

Result<PlainEnd> run_plainly(PlainRun options, const PowerOn& power_on, VcpuControl& control) {
    const Closing closing(control);
    std::optional<BlockedSignals> signals;
    Fd signal_fd;
    if (options.handle_signals) {
        signals.emplace();
        FTVMM_ASSIGN(signal_fd, signals->open());
    }
    const Log log = options.log;
    FTVMM_ASSIGN(const auto disks,
                 DiskThread::start(std::move(options.disks), control.waker(), log));
    FTVMM_ASSIGN(const auto io,
                 IoThread::start(IoOptions{std::move(options.taps), std::move(options.consoles),
                                           std::move(signal_fd), options.grace, log},
                                 control));
    SystemEntropy entropy;
    const SystemClock clock;
    PlainEnd result{end::Stopped{}, {}};
    Statistics& statistics = control.statistics();
    HostPorts ports(*disks, *io, control, entropy);
    VcpuThread vcpu(ports, control, statistics);
    ResetLoop resets;
    while (true) {
        const Instant born = clock.now();
        ++statistics.power_ons;
        FTVMM_ASSIGN(result.end, live(power_on, vcpu));
        const auto* reset = std::get_if<end::Reset>(&result.end);
        if (reset == nullptr) {
            result.statistics = statistics;
            return result;
        }
        log(reset->triple_fault ? "the guest's processor shut down (a triple fault): it starts anew"
                                : "the guest resets itself");
        if (resets.add(clock.now() - born)) {
            return fail(fmt::format("the guest reset itself {} times, each within {} s",
                                    ResetLoop::kMaxResets, ResetLoop::kShortLife.count()),
                        "look at its console for what ends it; the kernel's panic= is how long it "
                        "waits");
        }
        ports.reset();
    }
}

}  // namespace ftvmm::node
