// A running machine goes over to another host.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ftlink/frame.h"
#include "node/vcpu_control.h"
#include "pair/clone_wire.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::pair {

struct CloneProgress {
    std::uint32_t round = 0;  // From 1; 0: it has not begun.
    std::uint64_t round_pages = 0;
    std::uint64_t round_done = 0;
    std::uint64_t pages = 0;           // That went over, in all rounds,
    std::uint64_t bytes = 0;           // and what they took on the wire.
    std::chrono::nanoseconds pause{};  // Of the guest, at the end.
    std::uint32_t duty_percent = 100;  // What the guest may run of the time, in this round.
    replay::Seq first;                 // Of the log, at the end.
};

struct CloneSource {
    // Puts a frame on the wire; waits while there is no room. An error: the link is lost.
    std::function<Result<void>(ftlink::OutgoingFrame)> send;
    // On the vCPU thread, with the machine between two instructions and its state taken: what it
    // puts out and is given from here on is recorded. The number of the first such record.
    std::function<Result<replay::Seq>(machine::KvmMachine&)> lead;
    // Lets out what the machine has put out; on the vCPU thread.
    std::function<void(machine::KvmMachine&)> release_outputs;
    // True: the machine is about to go. Any thread.
    std::function<bool()> is_cancelled;
    // After each piece; may be empty.
    std::function<void(const CloneProgress&)> progress;
    std::string identity;  // Of the VM.
};

// Sends the machine over while it runs, in rounds, and stands it still once, for the rest. From
// that moment on it leads. Where it writes faster than the link carries, it is given less of the
// time (`control`'s duty, 100 % again at the end): clone_pace.h. An error: the guest runs on as
// before, and untracked; a lost link is one, or a guest that is too busy. The calling thread is
// neither the vCPU's nor the link's.
[[nodiscard]] Result<CloneProgress> clone(node::VcpuControl& control, const CloneSource& source);

}  // namespace ftvmm::pair
