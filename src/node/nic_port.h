// One of the guest's network cards: its tap, and the roads between it and the vCPU thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "node/doorbell.h"
#include "node/input_lane.h"
#include "node/log.h"
#include "node/output_hold.h"
#include "replay/output.h"
#include "vmm/host/tap.h"

namespace ftvmm::node {

// Frames for the guest are read by the io thread, as long as the lane has room; frames of the guest
// are written by the vCPU thread itself, which spares each a change of threads.
class NicPort {
  public:
    using Frame = std::vector<std::byte>;
    // A burst of small frames between two looks of the guest. What is more waits in the tap.
    static constexpr std::size_t kMaxFrames = 256;
    // Sent frames for which the host has no room now. What is more is lost, as on any full card.
    static constexpr std::size_t kMaxWaiting = 256;
    // An offloaded frame of 64 KiB, its link-layer header and the virtio_net_hdr.
    static constexpr std::size_t kMaxFrameBytes = 65536 + 64;

    // What waits for the host's room is lost once `right`, if there is one, does not hold. The
    // others outlive it.
    NicPort(host::Tap tap, Waker& waker, Doorbell& io_bell, Log log,
            const OutputRight* right = nullptr);

    // The vCPU thread's own.
    void send(Frame frame);
    // Tries again what waits.
    void send_waiting();
    void set_offload(const replay::output::NicOffload& offload);
    [[nodiscard]] std::optional<Frame> take() { return lane_.take(); }
    [[nodiscard]] bool is_empty() const { return lane_.is_empty(); }
    void shut() { lane_.shut(); }
    [[nodiscard]] bool is_shut() const { return lane_.is_shut(); }
    [[nodiscard]] std::uint64_t lost_frames() const { return lost_; }

    // The io thread's own. `scratch` has kMaxFrameBytes. False: the tap is gone.
    [[nodiscard]] bool read_frames(std::span<std::byte> scratch);
    // What the tap is to be watched for, as epoll has it.
    [[nodiscard]] std::uint32_t interest();
    // The tap can be written again.
    void on_writable();
    [[nodiscard]] const host::Tap& tap() const { return tap_; }

  private:
    enum class Sent { kDone, kHostFull };
    [[nodiscard]] Sent try_send(const Frame& frame);

    host::Tap tap_;
    Doorbell& io_bell_;
    Waker& waker_;
    Log log_;
    const OutputRight* right_;
    InputLane<Frame> lane_;
    std::atomic<bool> wants_to_write_{false};

    std::deque<Frame> waiting_;  // The vCPU thread's, like what follows.
    std::uint64_t lost_ = 0;
    RateLimit failures_;
    SystemClock clock_;
};

}  // namespace ftvmm::node
