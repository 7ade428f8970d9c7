// Runs the guest: from stop to stop, inputs in, outputs out, time on.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "node/deadline_timer.h"
#include "node/host_ports.h"
#include "node/output_hold.h"
#include "node/recording.h"
#include "node/statistics.h"
#include "node/vcpu_control.h"
#include "replay/guest_machine.h"

namespace ftvmm::node {

namespace end {

// The guest switched itself off.
struct PoweredOff {};
// It wants to start anew.
struct Reset {
    bool triple_fault = false;
};
// The host's processor or KVM could not go on; `why` is one sentence.
struct Crashed {
    std::string why;
};
// VcpuControl::stop() took the power.
struct Stopped {};

}  // namespace end

using End = std::variant<end::PoweredOff, end::Reset, end::Crashed, end::Stopped>;

// The calling thread is the vCPU's, and the machine is its own, until run() returns.
//
// Guest time goes on with the host's from where the guest starts. It is read from the host's clock
// and reaches the machine when it asks (NeedsTime), when a timer is due, and before each run of a
// guest that sees its clock without asking.
//
// A guest that is recorded gets its inputs at landmarks alone. Where a kick has ended a run it is
// at none, and runs on until it comes to one by itself, or until an input has waited for so long
// that it is worth a checkpoint.
class VcpuThread {
  public:
    // All outlive it.
    VcpuThread(HostPorts& ports, VcpuControl& control, Statistics& statistics,
               Recording* recording = nullptr)
        : ports_(ports), control_(control), statistics_(statistics), recording_(recording) {}

    // One power-on, or a restored machine that goes on at `start` and is told so first, until its
    // end. An error: the guest could not be run at all.
    [[nodiscard]] Result<End> run(replay::GuestMachine& machine, GuestTime start);

    // From here on the guest is recorded so, or not at all, and its outputs wait in `hold`, if
    // there is one. In a VcpuControl::call(), with the machine at what both sides take for a
    // landmark; all outlive the run, or the next such call. Outputs that were held are to be gone.
    void record(Recording* recording, OutputHold* hold) {
        recording_ = recording;
        hold_ = hold;
    }
    [[nodiscard]] Recording* recording() const { return recording_; }
    // Lets out what is held and may leave. Before a run, in a call(), or where a run would.
    void let_out();
    // Lets out what the machine has put out so far. As above.
    void release_outputs(replay::GuestMachine& machine);
    // What a machine that goes on here has put out elsewhere, and nobody knows whether it left
    // there. Before the machine's run.
    void put_out_again(std::vector<replay::Output> outputs);

    // An input for a machine that does not run yet.
    void apply(replay::GuestMachine& machine, const replay::Input& input);

  private:
    // One power-on.
    struct Guest {
        Guest(replay::GuestMachine& its_machine, DeadlineTimer its_timer, Instant its_zero)
            : machine(its_machine), timer(std::move(its_timer)), zero(its_zero) {}

        replay::GuestMachine& machine;
        DeadlineTimer timer;
        Instant zero;  // When its time was 0.
        bool halted = false;
        Instant looked_at{};  // When the timers were last looked at.
        Instant told_at{};    // When the guest was last told the time.

        // Of a guest that is recorded.
        bool at_landmark = true;
        bool has_news = false;                 // Which waits for the next landmark,
        std::optional<Instant> waiting_since;  // and an input is among it.
        std::optional<Instant> woken_at;       // When the first of its news came.
        std::optional<Error> failed;           // It can not be recorded any more.
    };

    [[nodiscard]] End run_to_end(Guest& guest);
    // Between two runs: whether the machine may run on.
    [[nodiscard]] bool prepare(Guest& guest);
    // Between two landmarks: whether the guest stands at one now, by a checkpoint.
    [[nodiscard]] bool make_landmark(Guest& guest);
    [[nodiscard]] std::optional<Instant> checkpoint_due(const Guest& guest) const;
    // What to do about `stop`; the end, if it is one.
    [[nodiscard]] std::optional<End> handle(Guest& guest, const replay::Stop& stop);
    void put_out(std::optional<replay::Seq> mark, replay::Output&& output, bool waits);
    [[nodiscard]] bool must_wait(const replay::Output& output) const;
    void rest_after(Instant begun);
    void wait_for_outputs(Guest& guest);
    [[nodiscard]] bool take_news(Guest& guest);
    void note_lateness(const Guest& guest, const replay::Input& input);
    void give_time(Guest& guest, Instant now);
    void give_due_time(Guest& guest);
    void give_inputs(Guest& guest);
    void cover_deadline(Guest& guest, bool may_run);

    HostPorts& ports_;
    VcpuControl& control_;
    Statistics& statistics_;
    Recording* recording_;
    OutputHold* hold_ = nullptr;
    std::size_t held_requests_ = 0;         // To disks.
    std::chrono::nanoseconds owed_rest_{};  // Of a guest that is slowed down.
    SystemClock clock_;
};

}  // namespace ftvmm::node
