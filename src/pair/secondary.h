// A host keeps a VM's Secondary, and takes the VM over when the Primary is lost.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ftlink/link_options.h"
#include "lock/ownership_driver.h"
#include "node/log.h"
#include "pair/beats.h"
#include "pair/follow_run.h"
#include "pair/secondary_status.h"
#include "pair/takeover_times.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::pair {

struct SecondaryOptions {
    ftlink::LinkOptions link;  // This host connects.
    machine::MachineConfig machine;
    std::string identity;    // Of the VM.
    node::MakeMachine make;  // The machines of the guest's later lives.
    // What the storage says, where it decides who takes over; outlives the call.
    lock::Ownership* ownership = nullptr;
    // How each hears that the other lives. This host takes over no earlier than that time behind
    // its last promise not to.
    BeatOptions beats;
    SecondaryObserver* observer = nullptr;  // Is told how it goes; outlives the call. None may be.
    // Called once it bids for the VM, before any promise has ended: the time for whatever takes
    // long and does nothing that others notice. May be null.
    std::function<void()> makes_ready;
    node::Log log;
};

// A machine that goes on here, as of follow().
struct TakenOver {
    // None where the guest was about to start anew: it does so here.
    std::unique_ptr<machine::KvmMachine> machine;
    GuestTime start;  // What its clock shows now.
    std::string lost_host;
    // Its kernel lives: the locks of its disks become free once what its process had
    // begun there has ended.
    bool host_answers = false;
    // What it has put out and nobody knows whether it left, and how the host is to be set for it.
    std::vector<replay::Output> put_again;
    TakeoverTimes times;
};

namespace followed {

// The guest's last life ended on the Primary, and here.
struct Ended {};
struct Diverged {
    replay::Divergence divergence;
};
// No Primary to follow any more, and nothing to take over: come again.
struct Left {};

}  // namespace followed

using Followed = std::variant<followed::Ended, followed::Diverged, followed::Left, TakenOver>;

// Takes a clone of the Primary's VM in and follows it, to its end or that of the link; a Primary
// that is lost is succeeded, if the storage lets this host. The calling thread is the vCPU's. An
// error: no Primary, or no clone of it; or `stops` is true.
[[nodiscard]] Result<Followed> follow_primary(const SecondaryOptions& options,
                                              const kvm::System& system,
                                              const std::atomic<bool>& stops);

}  // namespace ftvmm::pair
