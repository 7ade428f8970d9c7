// A running VM gets a Secondary, and another when it has lost that.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/durations.h"
#include "base/result.h"
#include "base/vm_identity.h"
#include "ftlink/link_options.h"
#include "lock/ownership_driver.h"
#include "node/log.h"
#include "node/recording.h"
#include "node/vcpu_control.h"
#include "node/vcpu_thread.h"
#include "pair/clone_source.h"
#include "pair/gate_hold.h"
#include "pair/io_loop.h"
#include "pair/primary_link.h"
#include "pair/recent_link.h"

namespace ftvmm::pair {

struct PrimaryOptions {
    // This host listens. Each meeting is of the generation then owned. None: no Secondary may come.
    std::optional<ftlink::LinkOptions> link;
    ftlink::ReleaseLeases leases;
    // The Secondary may take over: the storage decides who goes on, and this host owns the VM's
    // generation now. None: a VM that loses its Secondary runs on. Outlives this.
    lock::Ownership* ownership = nullptr;
    // How each hears that the other lives; what does not say otherwise is as of a link that nobody
    // watches.
    BeatOptions beats;
    // Of a VM that goes on here: they leave at its start, a few times.
    std::vector<replay::Output> announcements;
    std::string identity;  // Of the VM.
    // At the end of each of the guest's lives both sides compare all of its memory.
    bool audits_ends = false;
    node::Log log;
};

enum class Protection : std::uint8_t {
    kNeedsSecondary,  // Nobody follows: outputs leave at once.
    kClones,          // Somebody is about to.
    kProtected,       // A Secondary is in lockstep: outputs wait for it.
    kContests,        // It is lost, and may have taken over: nothing leaves until storage says so.
    kSuperseded,      // Another host owns the VM: this one has stopped.
};
// "needs a Secondary".
[[nodiscard]] const char* name_of(Protection protection);

struct PrimaryStatus {
    Protection protection{};
    Generation generation;  // 0: no storage decides.
    std::string secondary;  // Its host, if there is one.
    CloneProgress clone;    // The last.
    LinkFigures link;
    std::vector<PathStatus> paths;  // To the Secondary's host.
    RecentLink recent;              // While it is protected.
    Durations holds;                // Of outputs, since the run began.
    std::uint64_t clones = 0;       // That came to lockstep,
    std::uint64_t lost = 0;         // and how many of those were lost,
    std::uint64_t diverged = 0;     // because they diverged.
};

// The VM runs all the while; a Secondary that is lost, or fails to become one, costs it a moment.
class Primary {
  public:
    Primary(PrimaryOptions options, node::VcpuControl& control);
    Primary(const Primary&) = delete;
    Primary& operator=(const Primary&) = delete;
    // finish() was called, or attach() was not.
    ~Primary();

    // The vCPU thread's, from here on.
    // Before the first life. Secondaries may come.
    void attach(node::VcpuThread& vcpu);
    // A new life's machine is recorded from its power-on.
    [[nodiscard]] bool leads() const { return vcpu_ != nullptr && vcpu_->recording() != nullptr; }
    // A life's machine is about to go.
    void machine_ends(replay::GuestMachine& machine);
    // Behind the run: the Secondary, if there is one, is told all that was recorded. Where the host
    // could not go on, that one may at once.
    void finish(bool hands_over);

    // Any thread.
    [[nodiscard]] const node::OutputRight& right() const { return gate_; }
    [[nodiscard]] PrimaryStatus status() const;
    // Who owns the VM now, where that is another host: nothing of this one leaves any more, and the
    // run was stopped.
    [[nodiscard]] std::optional<lock::Claim> superseded_by() const;

  private:
    void work();
    void announce();
    [[nodiscard]] bool protect(ftlink::Greeted greeted);
    [[nodiscard]] Result<void> bring_to_lockstep(PrimaryLink& link);
    [[nodiscard]] Result<void> close_gate(PrimaryLink& link);
    [[nodiscard]] bool contest();
    void halt(const lock::Claim& owner);
    void watch_ownership();
    [[nodiscard]] node::OutputHold* solo_hold();
    void stay_in_lockstep(PrimaryLink& link);
    void note(const LinkFigures& figures, Instant now);
    void run_alone();
    void set(Protection protection);
    [[nodiscard]] Result<replay::Seq> lead(machine::KvmMachine& machine, PrimaryLink& link);

    PrimaryOptions options_;
    node::VcpuControl& control_;
    GateHold gate_;
    IoLoop loop_;
    node::VcpuThread* vcpu_ = nullptr;
    std::optional<node::Recording> recording_;  // The vCPU thread's own, like what follows.
    replay::Seq next_;                          // Records are counted over all Secondaries.
    std::atomic<bool> is_over_{false};          // The VM has ended.
    std::atomic<bool> stops_{false};
    std::atomic<bool> clone_is_cancelled_{false};
    std::atomic<bool> reads_memory_{false};  // The clone does.
    bool may_be_succeeded_ = false;          // The pair thread's: the Secondary may go live.
    std::thread thread_;

    mutable std::mutex mutex_;  // Guards what follows.
    PrimaryStatus status_;
    PrimaryLink* link_ = nullptr;  // While there is one.
    std::optional<lock::Claim> superseded_by_;
};

}  // namespace ftvmm::pair
