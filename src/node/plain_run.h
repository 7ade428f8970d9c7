// A VM that runs for itself: nobody takes over. What happens to it may be recorded.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "node/disk_thread.h"
#include "node/io_thread.h"
#include "node/log.h"
#include "node/recording.h"
#include "node/statistics.h"
#include "node/vcpu_thread.h"
#include "replay/guest_machine.h"

namespace ftvmm::node {

struct PlainRun {
    std::vector<NodeDisk> disks;  // What their engines work on outlives the run.
    std::vector<host::Tap> taps;
    std::vector<NodeConsole> consoles;
    // SIGTERM and SIGINT press the power button, and the second one ends the power.
    bool handle_signals = true;
    std::chrono::seconds grace{60};  // From the button to the end of the power.
    Log log = log_to_stderr;
    Recording* recording = nullptr;  // Who writes down what happens, if anybody; outlives the run.
    // Whether this host may act for the VM, where that is a question; outlives the run.
    const OutputRight* right = nullptr;
    // On the vCPU thread, each may be empty: before the first life, and before a life's machine
    // goes.
    std::function<void(VcpuThread&)> begins;
    std::function<void(replay::GuestMachine&)> machine_ends;
};

// A guest to run. One that was restored, or taken over, goes on at `start`; one without has just
// been powered on.
struct NewGuest {
    std::unique_ptr<replay::GuestMachine> machine;
    std::optional<GuestTime> start;
    std::vector<std::byte> rng_seed;  // What one without was given, for a log.
    // As of VcpuThread::put_out_again().
    std::vector<replay::Output> put_again{};
};
// Makes the guest as it is when the power comes on; called again when it resets itself, after the
// machine before is gone. On the vCPU thread.
using PowerOn = std::function<Result<NewGuest>()>;

struct PlainEnd {
    End end;  // Never a Reset.
    Statistics statistics;
};

// Runs the guest, over its resets, until it ends; the calling thread is the vCPU's, and `control`
// is how other threads reach it. All threads it started are gone when it returns. An error where
// the guest cannot be started, or resets itself over and over.
[[nodiscard]] Result<PlainEnd> run_plainly(PlainRun options, const PowerOn& power_on,
                                           VcpuControl& control);

// Finds a guest that gets no further than its own reset. Pure.
class ResetLoop {
  public:
    static constexpr int kMaxResets = 5;
    // A guest that does something in between takes longer to shut down and come up again; one that
    // panics over and over takes less, on a slow host too.
    static constexpr std::chrono::seconds kShortLife{60};

    // A guest reset itself `life` after its power-on. True: that was one too many.
    [[nodiscard]] bool add(std::chrono::nanoseconds life) {
        short_lives_ = life < kShortLife ? short_lives_ + 1 : 0;
        return short_lives_ >= kMaxResets;
    }

  private:
    int short_lives_ = 0;
};

}  // namespace ftvmm::node
