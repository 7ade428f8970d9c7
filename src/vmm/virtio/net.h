// virtio-net with one pair of queues, from the guest's side (virtio 1.2, 5.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/net_header.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {

namespace net_feature {
// HOST_*: what the device does for frames of the driver. GUEST_*: what the driver does for frames
// that it gets.
inline constexpr std::uint64_t kChecksum = std::uint64_t{1} << 0U;
inline constexpr std::uint64_t kGuestChecksum = std::uint64_t{1} << 1U;
inline constexpr std::uint64_t kMac = std::uint64_t{1} << 5U;
inline constexpr std::uint64_t kGuestTso4 = std::uint64_t{1} << 7U;
inline constexpr std::uint64_t kGuestTso6 = std::uint64_t{1} << 8U;
inline constexpr std::uint64_t kGuestEcn = std::uint64_t{1} << 9U;
inline constexpr std::uint64_t kHostTso4 = std::uint64_t{1} << 11U;
inline constexpr std::uint64_t kHostTso6 = std::uint64_t{1} << 12U;
inline constexpr std::uint64_t kHostEcn = std::uint64_t{1} << 13U;
inline constexpr std::uint64_t kMergeableBuffers = std::uint64_t{1} << 15U;
inline constexpr std::uint64_t kStatus = std::uint64_t{1} << 16U;
}  // namespace net_feature

// A frame as a tap reads and writes it: a NetHeader, then Ethernet.
using NetFrame = std::vector<std::byte>;

struct NetConfig {
    std::array<std::uint8_t, 6> mac{};
};

// Frames from the guest leave at once, and those for it stay with the machine until the driver has
// room: the card itself holds nothing. A frame goes
//
//   from the guest -> sent         notify()
//   from the guest -> dropped      notify(), where admit() does not let it pass
//   for the guest -> in its memory receive()
//   for the guest -> dropped       receive(), where the card is not running, admit() does not let
//                                  it pass, or it is longer than what the driver has for one frame
//   for the guest -> not taken     receive(), where the driver has no room yet
//
// A chain of the wrong direction, or too short for the header, breaks its queue. The link is always
// up. Owned by the machine; one thread.
class Net final : public Transport {
  public:
    static constexpr std::uint16_t kReceive = 0;   // The queue with room for frames.
    static constexpr std::uint16_t kTransmit = 1;  // The queue of what the guest sends.

    using State = Transport::State;
    struct Work {
        std::vector<NetFrame> frames;  // To send, in the driver's order, at most kMaxQueueSize.
        std::size_t dropped = 0;
        bool has_room = false;  // The driver has made room: offer the frames that wait again.
        Interrupts interrupts;  // Where the driver broke its queue; else see tell_sent().
    };
    struct Received {
        std::size_t taken = 0;    // Frames, from the front; those that were dropped too.
        std::size_t dropped = 0;  // How many of these the guest never sees.
        Interrupts interrupts;
    };

    explicit Net(const NetConfig& config);
    // `config` is that of the card the state is from.
    static Result<Net> from_state(const NetConfig& config, const State& state);
    [[nodiscard]] State state() const { return transport_state(); }

    // What the driver does for the frames it gets: the tap leaves that to it. It changes with a
    // write to kMemoryBar alone, and a frame from before the change is dropped where it has to be:
    // the machine may tell the tap late.
    [[nodiscard]] NetOffload offload() const;

    // Takes all that the guest sends; call it when queue `index` was rung.
    [[nodiscard]] Work notify(Dma& dma, std::uint16_t index);
    // Tells the driver what was sent since the last call, if it wants to know. When to do so is the
    // machine's choice.
    [[nodiscard]] Interrupts tell_sent(const Dma& dma);
    // Gives the guest as many of `frames` as it has room for, with one interrupt at most. A call
    // that takes none has asked the driver to ring when it has room, so to repeat a run every call
    // is repeated, with the same frames.
    [[nodiscard]] Received receive(Dma& dma, std::span<const NetFrame> frames);
    // The same of one frame.
    [[nodiscard]] Received receive_one(Dma& dma, std::span<const std::byte> frame);

  private:
    enum class Fate : std::uint8_t { kGiven, kDropped, kNotTaken };

    void on_reset() override {}
    [[nodiscard]] bool took(std::uint64_t feature) const { return (negotiated() & feature) != 0; }
    [[nodiscard]] NetOffload host_offload() const;
    [[nodiscard]] std::optional<NetFrame> take(const Dma& dma, const Chain& chain) const;
    [[nodiscard]] bool offer(Dma& dma, std::span<const std::byte> frame, Received& received);
    [[nodiscard]] Fate give(Dma& dma, std::span<const std::byte> frame);
    [[nodiscard]] std::optional<Chain> pop_room(const Dma& dma);
    void fill(Dma& dma, std::span<const Chain> chains, NetHeader header,
              std::span<const std::byte> frame);
};

}  // namespace ftvmm::virtio
