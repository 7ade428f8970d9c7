// virtio-blk, from the guest's side (virtio 1.2, 5.2). The disk itself is the machine's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/in_flight.h"
#include "vmm/virtio/transport.h"

namespace ftvmm::virtio {

inline constexpr std::uint32_t kSectorBytes = 512;
// The longest chain, less the header and the status.
inline constexpr std::uint32_t kMaxSegments = kMaxQueueSize - 2;
// Pages that lie together are one piece: a descriptor for each would cost the guest more than the
// data. As many pieces of this size are the data of one request, so that its copy stays small.
inline constexpr std::uint32_t kMaxSegmentBytes = 16U << 10U;
inline constexpr std::uint64_t kMaxBlkBytes = std::uint64_t{kMaxSegments} * kMaxSegmentBytes;
// One discard or write of zeroes, which carry no data: 1 GiB.
inline constexpr std::uint32_t kMaxZeroSectors = 1U << 21U;
inline constexpr std::size_t kBlkIdBytes = 20;

namespace blk_feature {
inline constexpr std::uint64_t kSizeMax = std::uint64_t{1} << 1U;
inline constexpr std::uint64_t kSegMax = std::uint64_t{1} << 2U;
inline constexpr std::uint64_t kReadOnly = std::uint64_t{1} << 5U;
inline constexpr std::uint64_t kBlkSize = std::uint64_t{1} << 6U;
inline constexpr std::uint64_t kFlush = std::uint64_t{1} << 9U;
inline constexpr std::uint64_t kDiscard = std::uint64_t{1} << 13U;
inline constexpr std::uint64_t kWriteZeroes = std::uint64_t{1} << 14U;
}  // namespace blk_feature

struct BlkConfig {
    std::uint64_t sectors = 0;  // The capacity.
    bool read_only = false;
    std::string id;  // What GET_ID answers; cut at 20 bytes.
};

// What the guest asks of the disk.
struct BlkRequest {
    enum class Kind : std::uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

    std::uint64_t id = 0;  // Never used twice, not even after a reset.
    Kind kind = Kind::kRead;
    std::uint64_t sector = 0;  // The range lies within the capacity; 0 for a flush.
    std::uint64_t length = 0;  // In bytes, a multiple of 512; 0 for a flush alone.
    SharedBytes data;          // `length` bytes for a write, else none.
    bool operator==(const BlkRequest&) const = default;
};

// A request, and where in guest memory its data lies if the disk moves it there by itself: whole
// pages, as any disk can.
struct PlacedRequest : BlkRequest {
    std::vector<Range> place;  // Empty where the data goes through `data` and complete().
};

// notify() turns chains into requests; the machine carries them out in any order and gives each
// result to complete(). A flush covers the writes that were complete when it was asked for. A
// request goes
//
//   chain -> in flight      notify()
//   chain -> answered       notify(), where the disk is not needed: GET_ID, and what is refused
//   in flight -> answered   complete()
//   in flight -> forgotten  the driver resets the device
//
// Where data is moved in place the guest finds what the disk did when the disk does it, and not at
// an exit: then what the guest does follows from its inputs no more.
//
// Requests that make no sense are answered with IOERR or, where the type or a flag is unknown,
// UNSUPP. A chain without a header or a place for the status breaks the queue, and so do more
// requests in flight than the queue has entries. Owned by the machine; one thread.
class Blk final : public Transport {
  public:
    // To write: the data of a read, then one byte of status.
    using Requests = InFlightList<BlkRequest>;
    struct State {
        Transport::State transport;
        Requests::Entries in_flight;
        std::uint64_t next_id = 0;
        bool operator==(const State&) const = default;
    };
    struct Work {
        std::vector<PlacedRequest> requests;  // In the driver's order.
        Interrupts interrupts;
    };

    explicit Blk(const BlkConfig& config);
    // `config` is that of the device the state is from. The machine then carries out again all that
    // is in flight.
    static Result<Blk> from_state(const BlkConfig& config, const State& state);
    // Requires that nothing is moved in place: nobody could ask for it again.
    [[nodiscard]] State state() const;
    [[nodiscard]] const Requests::Entries& in_flight() const { return in_flight_.entries(); }

    // From here on the data of reads and writes is moved in place, where its pieces are whole
    // pages, or none is; what is in flight goes on as it is.
    void move_in_place(bool on) { moves_in_place_ = on; }
    // Whether any data is, or may yet be: also of requests that a reset has forgotten.
    [[nodiscard]] bool is_moving_in_place() const { return moves_in_place_ || !in_place_.empty(); }

    // Takes all that the driver has made available; call it when queue `index` was rung.
    [[nodiscard]] Work notify(Dma& dma, std::uint16_t index);
    // The result of request `id`; `data` is what a read found, and of another length it counts as
    // not `ok`; where it was moved in place there is none. An `id` that is not in flight does
    // nothing.
    [[nodiscard]] Interrupts complete(Dma& dma, std::uint64_t id, bool ok,
                                      std::span<const std::byte> data = {});

  private:
    struct Header;

    void on_reset() override;
    [[nodiscard]] bool is_settling() const override;
    [[nodiscard]] Result<void> check(const InFlight<BlkRequest>& in_flight) const;
    // What to do with one chain: its request, if the disk is needed.
    [[nodiscard]] std::optional<PlacedRequest> take(Dma& dma, const Chain& chain);
    [[nodiscard]] std::optional<PlacedRequest> take_data(Dma& dma, const Chain& chain,
                                                         const Header& header);
    [[nodiscard]] PlacedRequest add(const Chain& chain, BlkRequest request,
                                    std::vector<Range> place = {});
    [[nodiscard]] std::optional<PlacedRequest> take_zeroes(Dma& dma, const Chain& chain,
                                                           const Header& header);
    void answer_id(Dma& dma, const Chain& chain);
    void answer(Dma& dma, std::uint16_t head, std::span<const Range> writable, std::uint8_t status,
                std::span<const std::byte> data = {}, bool is_in_place = false);
    [[nodiscard]] bool is_in_range(std::uint64_t sector, std::uint64_t length) const;

    BlkConfig config_;
    Requests in_flight_;
    bool moves_in_place_ = false;
    std::vector<std::uint64_t> in_place_;  // What is moved so, oldest first,
    std::uint64_t first_since_reset_ = 0;  // forgotten where it is older than this one.
};

}  // namespace ftvmm::virtio
