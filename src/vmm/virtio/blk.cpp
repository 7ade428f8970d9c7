#include "vmm/virtio/blk.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::virtio {
namespace {

// Types of request (virtio 1.2, 5.2.6).
constexpr std::uint32_t kIn = 0;
constexpr std::uint32_t kOut = 1;
constexpr std::uint32_t kFlush = 4;
constexpr std::uint32_t kGetId = 8;
constexpr std::uint32_t kDiscard = 11;
constexpr std::uint32_t kWriteZeroes = 13;
// The status byte.
constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kIoError = 1;
constexpr std::uint8_t kUnsupported = 2;

constexpr std::uint64_t kHeaderBytes = 16;
// A range to discard or zero: sector, number of sectors, flags.
constexpr std::uint64_t kZeroBytes = 16;
constexpr std::uint32_t kUnmap = 1;
// Discards of whole pages are what a sparse file can forget.
constexpr std::uint32_t kDiscardAlignment = 8;

// Device configuration (virtio 1.2, 5.2.4).
constexpr std::size_t kCapacity = 0;
constexpr std::size_t kSizeMax = 8;
constexpr std::size_t kSegMax = 12;
constexpr std::size_t kBlkSize = 20;
constexpr std::size_t kMaxDiscardSectors = 36;
constexpr std::size_t kMaxDiscardSegments = 40;
constexpr std::size_t kDiscardSectorAlignment = 44;
constexpr std::size_t kMaxWriteZeroesSectors = 48;
constexpr std::size_t kMaxWriteZeroesSegments = 52;
constexpr std::uint16_t kConfigBytes = 60;

DeviceType device_type(const BlkConfig& config) {
    const std::uint64_t by_mode = config.read_only
                                      ? blk_feature::kReadOnly
                                      : blk_feature::kDiscard | blk_feature::kWriteZeroes;
    return {.id = 2,
            .class_code = 0x01'8000,
            .features = by_mode | blk_feature::kFlush | blk_feature::kSegMax |
                        blk_feature::kSizeMax | blk_feature::kBlkSize,
            .queues = 1,
            .config_bytes = kConfigBytes};
}

bool has_data(BlkRequest::Kind kind) {
    return kind == BlkRequest::Kind::kRead || kind == BlkRequest::Kind::kWrite;
}

// Those of the data's `length` bytes in `ranges`, which has `before` other bytes ahead of them and
// perhaps some behind; neighbours are one. Nothing where they are not whole pages.
std::vector<Range> whole_pages(std::span<const Range> ranges, std::uint64_t before,
                               std::uint64_t length) {
    std::vector<Range> place;
    for (const Range& range : ranges) {
        const std::uint64_t skipped = std::min<std::uint64_t>(before, range.length);
        const std::uint64_t count = std::min<std::uint64_t>(range.length - skipped, length);
        before -= skipped;
        length -= count;
        if (count == 0) continue;
        const Gpa address = range.address + skipped;
        if (address.value() % kPageBytes != 0 || count % kPageBytes != 0) return {};
        const bool is_next =
            !place.empty() && place.back().address + place.back().length == address;
        if (is_next) {
            place.back().length += static_cast<std::uint32_t>(count);
        } else {
            place.push_back({address, static_cast<std::uint32_t>(count)});
        }
    }
    return place;
}

}  // namespace

struct Blk::Header {
    std::uint32_t type = 0;
    std::uint64_t sector = 0;
};

Blk::Blk(const BlkConfig& config) : Transport(device_type(config)), config_(config) {
    const auto bytes = device_config();
    pci::store_at(bytes, kCapacity, config.sectors);
    pci::store_at(bytes, kSizeMax, kMaxSegmentBytes);
    pci::store_at(bytes, kSegMax, kMaxSegments);
    pci::store_at(bytes, kBlkSize, kSectorBytes);
    if (config.read_only) return;
    pci::store_at(bytes, kMaxDiscardSectors, kMaxZeroSectors);
    pci::store_at(bytes, kMaxDiscardSegments, std::uint32_t{1});
    pci::store_at(bytes, kDiscardSectorAlignment, kDiscardAlignment);
    pci::store_at(bytes, kMaxWriteZeroesSectors, kMaxZeroSectors);
    pci::store_at(bytes, kMaxWriteZeroesSegments, std::uint32_t{1});
}

Blk::State Blk::state() const {
    FTVMM_CHECK(in_place_.empty(), "a disk that is saved moves nothing in place");
    return {transport_state(), in_flight_.entries(), in_flight_.next_id()};
}

void Blk::on_reset() {
    in_flight_.forget();
    first_since_reset_ = in_flight_.next_id();
}

bool Blk::is_settling() const {
    return !in_place_.empty() && in_place_.front() < first_since_reset_;
}

Result<Blk> Blk::from_state(const BlkConfig& config, const State& state) {
    Blk blk(config);
    const auto fresh = blk.transport_state().device_config;
    FTVMM_TRY(blk.restore(state.transport));
    if (state.transport.device_config != fresh) return fail("the disk is another one");
    for (const InFlight<BlkRequest>& in_flight : state.in_flight)
        FTVMM_TRY(blk.check(in_flight));
    FTVMM_TRY(blk.in_flight_.restore(state.in_flight, state.next_id, state.transport));
    return blk;
}

Result<void> Blk::check(const InFlight<BlkRequest>& in_flight) const {
    const BlkRequest& request = in_flight.request;
    const bool is_write = request.kind == BlkRequest::Kind::kWrite;
    const std::uint64_t most =
        has_data(request.kind) ? kMaxBlkBytes : std::uint64_t{kMaxZeroSectors} * kSectorBytes;
    const bool is_sized =
        request.kind == BlkRequest::Kind::kFlush
            ? request.length == 0 && request.sector == 0
            : request.length <= most && is_in_range(request.sector, request.length);
    if (request.kind > BlkRequest::Kind::kWriteZeroes || !is_sized ||
        request.data.size() != (is_write ? request.length : 0) ||
        (config_.read_only && request.kind != BlkRequest::Kind::kRead &&
         request.kind != BlkRequest::Kind::kFlush)) {
        return fail("a request in flight is none that the disk takes");
    }
    const std::uint64_t room = total_length(in_flight.writable);
    if (room == 0 || in_flight.writable.back().length == 0 ||
        (request.kind == BlkRequest::Kind::kRead && room != request.length + 1)) {
        return fail("a request in flight has no room for its answer");
    }
    return {};
}

bool Blk::is_in_range(std::uint64_t sector, std::uint64_t length) const {
    const std::uint64_t count = length / kSectorBytes;
    return length != 0 && length % kSectorBytes == 0 && count <= config_.sectors &&
           sector <= config_.sectors - count;
}

Blk::Work Blk::notify(Dma& dma, std::uint16_t index) {
    Work work;
    if (!may_work(index)) return work;
    while (const auto chain = queue(index).pop(dma)) {
        if (auto request = take(dma, *chain)) work.requests.push_back(std::move(*request));
    }
    queue(index).want_notification(dma);
    finish(dma, index, work.interrupts);
    return work;
}

PlacedRequest Blk::add(const Chain& chain, BlkRequest request, std::vector<Range> place) {
    PlacedRequest placed{in_flight_.add(chain, std::move(request)), std::move(place)};
    if (!placed.place.empty()) in_place_.push_back(placed.id);
    return placed;
}

std::optional<PlacedRequest> Blk::take(Dma& dma, const Chain& chain) {
    const auto bytes = gather(dma, chain.readable, kHeaderBytes);
    if (bytes.size() < kHeaderBytes || chain.writable.empty() ||
        in_flight_.entries().size() >= queue(0).state().size) {
        queue(0).mark_broken();
        return std::nullopt;
    }
    const Header header{pci::load_at<std::uint32_t>(bytes, 0),
                        pci::load_at<std::uint64_t>(bytes, 8)};
    const auto took = [this](std::uint64_t bit) { return (negotiated() & bit) != 0; };
    if (header.type == kIn || header.type == kOut) return take_data(dma, chain, header);
    if (header.type == kFlush && took(blk_feature::kFlush)) {
        BlkRequest request;
        request.kind = BlkRequest::Kind::kFlush;
        return add(chain, std::move(request));
    }
    if ((header.type == kDiscard && took(blk_feature::kDiscard)) ||
        (header.type == kWriteZeroes && took(blk_feature::kWriteZeroes))) {
        return take_zeroes(dma, chain, header);
    }
    if (header.type == kGetId) {
        answer_id(dma, chain);
    } else {
        answer(dma, chain.head, chain.writable, kUnsupported);
    }
    return std::nullopt;
}

std::optional<PlacedRequest> Blk::take_data(Dma& dma, const Chain& chain, const Header& header) {
    const bool is_write = header.type == kOut;
    BlkRequest request;
    request.kind = is_write ? BlkRequest::Kind::kWrite : BlkRequest::Kind::kRead;
    request.sector = header.sector;
    request.length =
        is_write ? total_length(chain.readable) - kHeaderBytes : total_length(chain.writable) - 1;
    if (request.length > kMaxBlkBytes || !is_in_range(request.sector, request.length) ||
        (is_write && config_.read_only)) {
        answer(dma, chain.head, chain.writable, kIoError);
        return std::nullopt;
    }
    if (moves_in_place_) {
        auto place = is_write ? whole_pages(chain.readable, kHeaderBytes, request.length)
                              : whole_pages(chain.writable, 0, request.length);
        if (!place.empty()) return add(chain, std::move(request), std::move(place));
    }
    if (is_write) {
        AlignedBuffer data(request.length);
        gather(dma, chain.readable, kHeaderBytes, data.bytes());
        request.data = SharedBytes(std::move(data));
    }
    return add(chain, std::move(request));
}

// One range to a request: the configuration says so.
std::optional<PlacedRequest> Blk::take_zeroes(Dma& dma, const Chain& chain, const Header& header) {
    const auto bytes = gather(dma, chain.readable, kHeaderBytes + kZeroBytes);
    if (total_length(chain.readable) != kHeaderBytes + kZeroBytes) {
        answer(dma, chain.head, chain.writable, kIoError);
        return std::nullopt;
    }
    const bool is_discard = header.type == kDiscard;
    // Zeroes may be unmapped or not, as the disk likes; a discard has no flags
    // (virtio 1.2, 5.2.6.2).
    const auto flags = pci::load_at<std::uint32_t>(bytes, kHeaderBytes + 12);
    if ((flags & ~(is_discard ? 0U : kUnmap)) != 0) {
        answer(dma, chain.head, chain.writable, kUnsupported);
        return std::nullopt;
    }
    BlkRequest request;
    request.kind = is_discard ? BlkRequest::Kind::kDiscard : BlkRequest::Kind::kWriteZeroes;
    request.sector = pci::load_at<std::uint64_t>(bytes, kHeaderBytes);
    const auto count = pci::load_at<std::uint32_t>(bytes, kHeaderBytes + 8);
    request.length = std::uint64_t{count} * kSectorBytes;
    if (count > kMaxZeroSectors || !is_in_range(request.sector, request.length)) {
        answer(dma, chain.head, chain.writable, kIoError);
        return std::nullopt;
    }
    return add(chain, std::move(request));
}

void Blk::answer_id(Dma& dma, const Chain& chain) {
    if (total_length(chain.writable) != kBlkIdBytes + 1) {
        answer(dma, chain.head, chain.writable, kIoError);
        return;
    }
    std::array<std::byte, kBlkIdBytes> id{};
    std::ranges::transform(config_.id.substr(0, kBlkIdBytes), id.begin(),
                           [](char letter) { return static_cast<std::byte>(letter); });
    answer(dma, chain.head, chain.writable, kOk, id);
}

// The status is the chain's last byte. The used length counts bytes from the front that were all
// written (virtio 1.2, 2.7.8.2): 0 where the status alone was, behind data that was not.
void Blk::answer(Dma& dma, std::uint16_t head, std::span<const Range> writable, std::uint8_t status,
                 std::span<const std::byte> data, bool is_in_place) {
    const std::uint64_t room = total_length(writable);
    (void)scatter(dma, writable, 0, data);
    const std::array last{static_cast<std::byte>(status)};
    (void)scatter(dma, writable, room - 1, last);
    const bool is_whole = is_in_place || data.size() + 1 == room;
    queue(0).push_used(dma, head, static_cast<std::uint32_t>(is_whole ? room : data.size()));
}

Interrupts Blk::complete(Dma& dma, std::uint64_t id, bool ok, std::span<const std::byte> data) {
    const bool was_in_place = std::erase(in_place_, id) > 0;
    const auto done = in_flight_.take(id);
    // With a broken queue, or without bus mastering, the answer has nowhere to go.
    if (!done || !may_work(0)) return {};
    Interrupts interrupts;
    if (done->request.kind != BlkRequest::Kind::kRead) {
        answer(dma, done->head, done->writable, ok ? kOk : kIoError);
    } else if (ok && was_in_place) {
        answer(dma, done->head, done->writable, kOk, {}, true);
    } else if (ok && data.size() == done->request.length) {
        answer(dma, done->head, done->writable, kOk, data);
    } else {
        answer(dma, done->head, done->writable, kIoError);
    }
    finish(dma, 0, interrupts);
    return interrupts;
}

}  // namespace ftvmm::virtio
