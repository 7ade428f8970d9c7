// Between the machine and the host: the one way out for outputs, the one way in for inputs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>
#include <vector>

#include "base/random.h"
#include "node/disk_thread.h"
#include "node/io_thread.h"
#include "node/owned_input.h"
#include "node/vcpu_control.h"
#include "replay/guest_machine.h"
#include "replay/output.h"

namespace ftvmm::node {

// Owned by the run, used by the vCPU thread alone. No call waits, but for drain_disks().
class HostPorts {
  public:
    // All outlive it.
    HostPorts(DiskThread& disks, IoThread& io, VcpuControl& control, Entropy& entropy);

    // The only place where an output leaves. What the host has no room for is kept, in order; what
    // the guest prints byte by byte is gathered into lines.
    void release(replay::Output&& output);
    // Sends on what of a line is there: before the thread waits, and now and then while it runs.
    void flush();
    // Outputs are kept: the guest is not to run, lest there be more of them. The waker wakes when
    // there may be room; then retry().
    [[nodiscard]] bool is_congested() const { return !prints_.empty() || !requests_.empty(); }
    void retry();

    // The next input that `machine` wants now. What it does not want stays where it is.
    [[nodiscard]] std::optional<OwnedInput> next_input(const replay::GuestMachine& machine);
    // Whether next_input() would give one.
    [[nodiscard]] bool has_input(const replay::GuestMachine& machine);
    // An answer is here already.
    [[nodiscard]] bool has_answers() const { return !answers_.empty(); }
    // Something may be there that the machine did not want: look again after each of its stops.
    [[nodiscard]] bool has_unwanted() const { return unwanted_ > 0; }

    // Another guest begins: forgets what the one before asked for and was not done, waits for what
    // of it the disks are doing, and takes back what its drivers negotiated.
    void reset();
    [[nodiscard]] std::uint64_t lost_frames() const;

  private:
    void gather(replay::output::ConsoleBytes&& output);
    void print(replay::output::ConsoleBytes&& output);
    void submit(replay::output::DiskRequest&& request);
    void answer(const replay::output::EntropyRequest& request);
    [[nodiscard]] NicPort& nic(std::uint32_t index);
    void drain_disks();

    DiskThread& disks_;
    IoThread& io_;
    VcpuControl& control_;
    Entropy& entropy_;
    replay::output::ConsoleBytes line_;  // Of one console; the other's output ends it.
    std::deque<replay::output::ConsoleBytes> prints_;
    std::deque<replay::output::DiskRequest> requests_;
    std::deque<OwnedEntropy> answers_;
    std::size_t unwanted_ = 0;  // Lanes that are shut.
};

}  // namespace ftvmm::node
