#include "node/plain_run.h"

#include <fmt/core.h>

#include <csignal>
#include <optional>
#include <utility>

#include "base/overloaded.h"
#include "base/random.h"
#include "base/signal_thread.h"
#include "node/host_ports.h"
#include "vmm/host/wall_clock.h"

namespace ftvmm::node {

namespace {

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

replay::record::EndKind kind_of(const End& end) {
    using replay::record::EndKind;
    return std::visit(Overloaded{
                          [](const end::PoweredOff&) { return EndKind::kPoweredOff; },
                          [](const end::Reset& reset) {
                              return reset.triple_fault ? EndKind::kTripleFault : EndKind::kReset;
                          },
                          [](const end::Crashed&) { return EndKind::kCrashed; },
                          [](const end::Stopped&) { return EndKind::kStopped; },
                      },
                      end);
}

// One power-on, to its end.
Result<End> live(const PlainRun& options, const PowerOn& power_on, VcpuThread& vcpu) {
    FTVMM_ASSIGN(auto guest, power_on());
    if (auto* recording = vcpu.recording()) recording->power_on(*guest.machine, guest.rng_seed);
    if (!guest.start) {
        vcpu.apply(*guest.machine, replay::input::WallClock{host::SystemWallClock().now()});
    }
    vcpu.put_out_again(std::move(guest.put_again));
    auto end = vcpu.run(*guest.machine, guest.start.value_or(GuestTime{}));
    // Somebody may have begun, or ceased, to record it meanwhile.
    if (auto* recording = vcpu.recording(); recording != nullptr && end) {
        recording->end(*guest.machine, kind_of(*end));
    }
    if (options.machine_ends) options.machine_ends(*guest.machine);
    return end;
}

}  // namespace

Result<PlainEnd> run_plainly(PlainRun options, const PowerOn& power_on, VcpuControl& control) {
    const Closing closing(control);
    const Log log = options.log;
    FTVMM_ASSIGN(const auto disks,
                 DiskThread::start(std::move(options.disks), control.waker(), log, options.right));
    FTVMM_ASSIGN(const auto io,
                 IoThread::start(IoOptions{std::move(options.taps), std::move(options.consoles),
                                           options.grace, log, options.right},
                                 control));
    std::optional<SignalThread> signals;
    if (options.handle_signals) {
        signals.emplace(std::initializer_list<int>{SIGTERM, SIGINT}, [&io](int signal) {
            io->ask_to_end(signal == SIGINT ? "SIGINT" : "SIGTERM");
        });
    }
    SystemEntropy entropy;
    const SystemClock clock;
    PlainEnd result{end::Stopped{}, {}};
    Statistics& statistics = control.statistics();
    HostPorts ports(*disks, *io, control, entropy);
    VcpuThread vcpu(ports, control, statistics, options.recording);
    if (options.begins) options.begins(vcpu);
    ResetLoop resets;
    while (true) {
        const Instant born = clock.now();
        ++statistics.power_ons;
        FTVMM_ASSIGN(result.end, live(options, power_on, vcpu));
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
