#include "vmm/virtio/blk.h"

#include <algorithm>
#include <array>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "driver.h"

namespace ftvmm::virtio {
namespace {

using testing::Buffer;
using testing::Driver;
using testing::DriverQueue;
using testing::peek;
using testing::poke;
using testing::Used;
using Kind = BlkRequest::Kind;

constexpr std::uint64_t kMemoryBytes = 0x80'0000;
constexpr Gpa kBase{0x4000};
constexpr Gpa kTable{0x9000};
constexpr Gpa kHeader{0x1'0000};
constexpr Gpa kStatus{0x1'1000};
constexpr Gpa kData{0x10'0000};
constexpr std::uint64_t kSectors = 4'000'000;
constexpr std::uint16_t kQueueSize = 8;
constexpr std::byte kUntouched{0xee};
constexpr std::byte kOk{0};
constexpr std::byte kIoError{1};
constexpr std::byte kUnsupported{2};

// The driver's types of request.
constexpr std::uint32_t kIn = 0;
constexpr std::uint32_t kOut = 1;
constexpr std::uint32_t kFlush = 4;
constexpr std::uint32_t kGetId = 8;
constexpr std::uint32_t kDiscard = 11;
constexpr std::uint32_t kWriteZeroes = 13;

constexpr std::uint64_t kAll = feature::kVersion1 | feature::kIndirect | blk_feature::kFlush |
                               blk_feature::kSegMax | blk_feature::kSizeMax | blk_feature::kBlkSize;
constexpr std::uint64_t kZeroing = blk_feature::kDiscard | blk_feature::kWriteZeroes;

struct Fixture {
    GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma{memory};
    Blk blk;
    Driver driver{memory, blk};
    DriverQueue queue;

    explicit Fixture(const BlkConfig& config = {kSectors, false, "ftvmm-disk"},
                     std::uint64_t features = kAll | kZeroing)
        : blk(config), queue(driver.start(features, kBase, kQueueSize)) {}

    // Offers one request with `data` between header and status, and rings.
    Blk::Work ask(std::uint32_t type, std::uint64_t sector, const std::vector<Buffer>& data) {
        poke(memory, kHeader, type);
        poke(memory, kHeader + 8, sector);
        poke(memory, kStatus, std::uint8_t{0xee});
        std::vector<Buffer> buffers{{kHeader.value(), 16}};
        buffers.insert(buffers.end(), data.begin(), data.end());
        buffers.push_back({kStatus.value(), 1, true});
        (void)queue.add_indirect(buffers, kTable);
        return blk.notify(dma, 0);
    }
    Blk::Work ask_zeroes(std::uint32_t type, std::uint64_t sector, std::uint32_t count,
                         std::uint32_t flags = 0) {
        poke(memory, kData, sector);
        poke(memory, kData + 8, count);
        poke(memory, kData + 12, flags);
        return ask(type, 0, {{kData.value(), 16}});
    }
    [[nodiscard]] std::byte status() const { return memory.find(kStatus, 1)[0]; }
    // Whether the device answered at once, and with `wanted`.
    bool refuses(const Blk::Work& work, std::byte wanted) {
        return work.requests.empty() && work.interrupts.size() == 1 && queue.take_used() &&
               status() == wanted && blk.in_flight().empty();
    }
};

std::vector<std::byte> pattern(std::size_t size) {
    std::vector<std::byte> bytes(size);
    SeededEntropy(size).fill(bytes);
    return bytes;
}

constexpr Buffer kReadBuffer{kData.value(), 512, true};
constexpr Buffer kWriteBuffer{kData.value(), 512, false};

TEST_CASE("A disk shows its capacity and limits") {
    Fixture f;
    CHECK(f.blk.config().read(pci::reg::kDeviceId, 2) == 0x1042);
    CHECK(f.driver.read(kDeviceOffset, 8) == kSectors);
    CHECK(f.driver.read(kDeviceOffset + 8, 4) == 16384);
    CHECK(f.driver.read(kDeviceOffset + 12, 4) == 254);
    CHECK(f.driver.read(kDeviceOffset + 20, 4) == 512);
    CHECK(f.driver.read(kDeviceOffset + 36, 4) == kMaxZeroSectors);
    CHECK(f.driver.read(kDeviceOffset + 52, 4) == 1);
    CHECK((f.driver.offered() & (kAll | kZeroing | blk_feature::kReadOnly)) == (kAll | kZeroing));
}

TEST_CASE("A read fills the driver's buffers when the disk has answered") {
    Fixture f;
    const auto work =
        f.ask(kIn, 7, {{kData.value(), 512, true}, {kData.value() + 8192, 512, true}});
    REQUIRE(work.requests.size() == 1);
    const BlkRequest& request = work.requests[0];
    CHECK(request == BlkRequest{request.id, Kind::kRead, 7, 1024, {}});
    CHECK(work.interrupts.empty());
    CHECK_FALSE(f.queue.take_used());
    CHECK(f.status() == kUntouched);
    const auto bytes = pattern(1024);
    CHECK(f.blk.complete(f.dma, request.id, true, bytes).size() == 1);
    CHECK(f.queue.take_used()->written == 1025);
    CHECK(f.status() == kOk);
    CHECK(std::ranges::equal(f.memory.find(kData, 512), std::span(bytes).first(512)));
    CHECK(std::ranges::equal(f.memory.find(kData + 8192, 512), std::span(bytes).last(512)));
    CHECK(f.blk.in_flight().empty());
}

TEST_CASE("A write carries what memory held when it was asked for") {
    Fixture f;
    const auto bytes = pattern(1024);
    CHECK(f.memory.write(kData, bytes));
    const auto work =
        f.ask(kOut, kSectors - 2, {{kData.value(), 1000}, {kData.value() + 1000, 24}});
    REQUIRE(work.requests.size() == 1);
    poke(f.memory, kData, ~std::uint64_t{0});
    const auto data = SharedBytes::copy_of(bytes);
    CHECK(work.requests[0] == BlkRequest{0, Kind::kWrite, kSectors - 2, 1024, data});
    CHECK(f.blk.in_flight()[0].request.data == data);
    CHECK(f.blk.complete(f.dma, 0, true).size() == 1);
    CHECK(f.queue.take_used()->written == 1);
    CHECK(f.status() == kOk);
}

TEST_CASE("Header and data may share a descriptor, and data and status") {
    Fixture f;
    const auto bytes = pattern(512);
    poke(f.memory, kData, kOut);
    poke(f.memory, kData + 8, std::uint64_t{3});
    CHECK(f.memory.write(kData + 16, bytes));
    (void)f.queue.add(std::array{Buffer{kData.value(), 528}, Buffer{kStatus.value(), 1, true}});
    auto work = f.blk.notify(f.dma, 0);
    REQUIRE(work.requests.size() == 1);
    CHECK(work.requests[0] == BlkRequest{0, Kind::kWrite, 3, 512, SharedBytes::copy_of(bytes)});

    poke(f.memory, kHeader, kIn);
    (void)f.queue.add(std::array{Buffer{kHeader.value(), 7}, Buffer{kHeader.value() + 7, 9},
                                 Buffer{kData.value() + 4096, 513, true}});
    work = f.blk.notify(f.dma, 0);
    REQUIRE(work.requests.size() == 1);
    (void)f.blk.complete(f.dma, work.requests[0].id, true, bytes);
    CHECK(std::ranges::equal(f.memory.find(kData + 4096, 512), bytes));
    CHECK(f.memory.find(kData + 4096 + 512, 1)[0] == kOk);
}

TEST_CASE("Flush, discard and zeroes reach the disk with their range") {
    Fixture f;
    auto work = f.ask(kFlush, 0, {});
    REQUIRE(work.requests.size() == 1);
    CHECK(work.requests[0] == BlkRequest{0, Kind::kFlush, 0, 0, {}});
    (void)f.blk.complete(f.dma, 0, true);
    work = f.ask_zeroes(kDiscard, 8, 16);
    REQUIRE(work.requests.size() == 1);
    CHECK(work.requests[0] == BlkRequest{1, Kind::kDiscard, 8, 8192, {}});
    (void)f.blk.complete(f.dma, 1, true);
    work = f.ask_zeroes(kWriteZeroes, 0, kMaxZeroSectors, 1);
    REQUIRE(work.requests.size() == 1);
    CHECK(work.requests[0] == BlkRequest{2, Kind::kWriteZeroes, 0, std::uint64_t{1} << 30U, {}});
    (void)f.blk.complete(f.dma, 2, false);
    CHECK(f.status() == kIoError);
}

TEST_CASE("The disk's name is answered at once") {
    Fixture f;
    auto work = f.ask(kGetId, 0, {{kData.value(), 20, true}});
    CHECK(f.refuses(work, kOk));
    const auto id = f.memory.find(kData, 20);
    CHECK(std::string(reinterpret_cast<const char*>(id.data())) == "ftvmm-disk");
    CHECK(f.refuses(f.ask(kGetId, 0, {{kData.value(), 19, true}}), kIoError));
    Fixture longer({kSectors, false, "0123456789012345678901234"});
    CHECK(longer.refuses(longer.ask(kGetId, 0, {{kData.value(), 20, true}}), kOk));
    CHECK(longer.memory.find(kData + 19, 1)[0] == std::byte{'9'});
    CHECK(longer.memory.find(kData + 20, 1)[0] == std::byte{0});
}

TEST_CASE("Ranges that are not on the disk, or not whole sectors, are I/O errors") {
    Fixture f;
    constexpr auto kFar = ~std::uint64_t{0};
    for (const std::uint64_t sector : {kSectors, kFar, kFar - 1, kFar / 512}) {
        CHECK(f.refuses(f.ask(kIn, sector, {kReadBuffer}), kIoError));
        CHECK(f.refuses(f.ask(kOut, sector, {kWriteBuffer}), kIoError));
        CHECK(f.refuses(f.ask_zeroes(kDiscard, sector, 1), kIoError));
    }
    CHECK(f.refuses(f.ask(kIn, kSectors - 1, {{kData.value(), 1024, true}}), kIoError));
    CHECK(f.refuses(f.ask(kIn, 0, {}), kIoError));
    CHECK(f.refuses(f.ask(kOut, 0, {}), kIoError));
    CHECK(f.refuses(f.ask(kIn, 0, {{kData.value(), 511, true}}), kIoError));
    CHECK(f.refuses(f.ask(kOut, 0, {{kData.value(), 513}}), kIoError));
    CHECK(f.refuses(f.ask_zeroes(kWriteZeroes, 0, 0), kIoError));
    CHECK(f.refuses(f.ask_zeroes(kWriteZeroes, 0, kMaxZeroSectors + 1), kIoError));
    CHECK(f.refuses(f.ask(kDiscard, 0, {{kData.value(), 32}}), kIoError));
    CHECK(f.refuses(f.ask(kDiscard, 0, {}), kIoError));
}

TEST_CASE("One request moves at most what its segments hold") {
    Fixture f;
    const auto most = static_cast<std::uint32_t>(kMaxBlkBytes);
    CHECK(f.refuses(f.ask(kIn, 0, {{kData.value(), most + 512, true}}), kIoError));
    CHECK(f.refuses(f.ask(kOut, 0, {{kData.value(), most}, {kData.value(), 512}}), kIoError));
    CHECK(f.ask(kOut, 0, {{kData.value(), most}}).requests.size() == 1);
    const std::vector<Buffer> segments(kMaxSegments, Buffer{kData.value(), kMaxSegmentBytes, true});
    CHECK(f.ask(kIn, 0, segments).requests.size() == 1);
}

TEST_CASE("Types and flags that the disk does not know are unsupported") {
    Fixture f;
    for (const std::uint32_t type : {2U, 3U, 5U, 14U, 0x8000'0000U})
        CHECK(f.refuses(f.ask(type, 0, {kReadBuffer}), kUnsupported));
    CHECK(f.refuses(f.ask_zeroes(kDiscard, 0, 8, 1), kUnsupported));
    CHECK(f.refuses(f.ask_zeroes(kWriteZeroes, 0, 8, 2), kUnsupported));
    Fixture plain({kSectors, false, ""}, feature::kVersion1 | feature::kIndirect);
    CHECK(plain.refuses(plain.ask(kFlush, 0, {}), kUnsupported));
    CHECK(plain.refuses(plain.ask_zeroes(kDiscard, 0, 8), kUnsupported));
    CHECK(plain.refuses(plain.ask_zeroes(kWriteZeroes, 0, 8), kUnsupported));
}

TEST_CASE("A disk that is read-only takes no writes") {
    Fixture f({kSectors, true, ""}, kAll | blk_feature::kReadOnly);
    CHECK((f.driver.offered() & (kZeroing | blk_feature::kReadOnly)) == blk_feature::kReadOnly);
    CHECK(f.refuses(f.ask(kOut, 0, {kWriteBuffer}), kIoError));
    CHECK(f.refuses(f.ask_zeroes(kDiscard, 0, 8), kUnsupported));
    CHECK(f.ask(kIn, 0, {kReadBuffer}).requests.size() == 1);
}

TEST_CASE("A disk that fails, or answers too little, is an I/O error and moves no data") {
    Fixture f;
    const auto bytes = pattern(512);
    auto id = f.ask(kIn, 0, {kReadBuffer}).requests.at(0).id;
    CHECK(f.blk.complete(f.dma, id, false, bytes).size() == 1);
    CHECK(f.status() == kIoError);
    CHECK(f.queue.take_used()->written == 0);
    id = f.ask(kIn, 0, {kReadBuffer}).requests.at(0).id;
    CHECK(f.blk.complete(f.dma, id, true, std::span(bytes).first(511)).size() == 1);
    CHECK(f.status() == kIoError);
    CHECK(peek<std::uint64_t>(f.memory, kData) == 0);
}

TEST_CASE("A chain without a header or a status breaks the queue") {
    const std::array short_header{Buffer{kHeader.value(), 15}, Buffer{kStatus.value(), 1, true}};
    const std::array no_status{Buffer{kHeader.value(), 16}};
    for (const std::span<const Buffer> chain :
         {std::span<const Buffer>(short_header), {no_status}}) {
        Fixture f;
        (void)f.queue.add(chain);
        const auto work = f.blk.notify(f.dma, 0);
        CHECK(work.requests.empty());
        CHECK(work.interrupts.size() == 1);
        CHECK((f.blk.device_status() & status::kNeedsReset) != 0);
        CHECK(f.dma.take_written_pages().empty());
    }
}

TEST_CASE("More requests in flight than the queue has entries break it") {
    Fixture f;
    for (int i = 0; i < kQueueSize; ++i)
        CHECK(f.ask(kIn, 0, {kReadBuffer}).requests.size() == 1);
    CHECK(f.blk.is_running());
    CHECK(f.ask(kIn, 0, {kReadBuffer}).requests.empty());
    CHECK_FALSE(f.blk.is_running());
    (void)f.dma.take_written_pages();
    CHECK(f.blk.complete(f.dma, 0, true, pattern(512)).empty());
    CHECK(f.dma.take_written_pages().empty());
    CHECK(f.blk.in_flight().size() == kQueueSize - 1);
}

TEST_CASE("Requests complete in any order, each once") {
    Fixture f;
    const auto first = f.ask(kOut, 0, {kWriteBuffer}).requests.at(0).id;
    const auto second = f.ask(kOut, 1, {kWriteBuffer}).requests.at(0).id;
    CHECK(f.blk.complete(f.dma, second, true).size() == 1);
    CHECK(f.queue.take_used() == Used{1, 1});
    CHECK(f.blk.complete(f.dma, second, true).empty());
    CHECK(f.blk.complete(f.dma, 99, true).empty());
    CHECK(f.blk.complete(f.dma, first, true).size() == 1);
    CHECK(f.queue.take_used() == Used{0, 1});
    CHECK_FALSE(f.queue.take_used());
}

TEST_CASE("A reset forgets what is in flight, and no number comes twice") {
    Fixture f;
    const auto old = f.ask(kIn, 0, {kReadBuffer}).requests.at(0).id;
    f.queue = f.driver.start(kAll, kBase + testing::kQueueBytes * 8, kQueueSize);
    CHECK(f.blk.in_flight().empty());
    const auto fresh = f.ask(kIn, 0, {kReadBuffer}).requests.at(0).id;
    CHECK(fresh != old);
    CHECK(f.blk.complete(f.dma, old, true, pattern(512)).empty());
    CHECK(f.status() == kUntouched);
    CHECK(f.blk.complete(f.dma, fresh, true, pattern(512)).size() == 1);
}

TEST_CASE("A disk goes on from its state with what is in flight") {
    Fixture f;
    (void)f.memory.write(kData, pattern(512));
    (void)f.ask(kOut, 5, {kWriteBuffer});
    (void)f.ask(kIn, 6, {kReadBuffer});
    auto restored = Blk::from_state({kSectors, false, "ftvmm-disk"}, f.blk.state());
    REQUIRE(restored);
    CHECK(restored->state() == f.blk.state());
    REQUIRE(restored->in_flight().size() == 2);
    CHECK(restored->in_flight()[0].request.data == SharedBytes::copy_of(pattern(512)));
    const auto bytes = pattern(512);
    CHECK(restored->complete(f.dma, 1, true, bytes) == f.blk.complete(f.dma, 1, true, bytes));
    CHECK(restored->state() == f.blk.state());
}

TEST_CASE("A state that no disk can be in is refused") {
    Fixture f;
    const BlkConfig config{kSectors, false, "ftvmm-disk"};
    (void)f.ask(kOut, 5, {kWriteBuffer});
    (void)f.ask(kIn, 6, {kReadBuffer});
    (void)f.ask(kFlush, 0, {});
    const auto good = f.blk.state();
    REQUIRE(Blk::from_state(config, good));
    CHECK_FALSE(Blk::from_state({kSectors + 1, false, ""}, good));
    CHECK_FALSE(Blk::from_state({kSectors, true, ""}, good));
    const auto refuses = [&](auto wrong) {
        auto state = good;
        wrong(state);
        return !Blk::from_state(config, state);
    };
    CHECK(refuses([](auto& s) { s.next_id = 2; }));
    CHECK(refuses([](auto& s) { std::swap(s.in_flight[0], s.in_flight[1]); }));
    CHECK(refuses([](auto& s) { s.in_flight[1].request.id = 0; }));
    CHECK(refuses([](auto& s) { s.in_flight[0].head = kQueueSize; }));
    CHECK(
        refuses([](auto& s) { s.in_flight[0].request.data = SharedBytes::copy_of(pattern(511)); }));
    CHECK(refuses([](auto& s) { s.in_flight[0].request.sector = kSectors; }));
    CHECK(refuses([](auto& s) { s.in_flight[0].request.kind = static_cast<Kind>(9); }));
    CHECK(refuses([](auto& s) { s.in_flight[0].writable.clear(); }));
    CHECK(refuses([](auto& s) { s.in_flight[1].writable.pop_back(); }));
    CHECK(refuses([](auto& s) { s.in_flight[1].request.length = 2 * kMaxBlkBytes; }));
    CHECK(refuses([](auto& s) { s.in_flight[2].request.length = 512; }));
    CHECK(refuses([](auto& s) { s.in_flight.resize(9, s.in_flight[0]); }));
    CHECK(refuses([](auto& s) { s.transport.status = 0; }));
    CHECK(refuses([](auto& s) { s.transport.queues[0] = {}; }));
    CHECK(refuses([](auto& s) { s.transport.device_config[0] = std::byte{1}; }));
}

TEST_CASE("No requests, from any seed, reach past the disk or leave a state that is refused") {
    std::uint64_t taken = 0;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        INFO("seed " << seed);
        SeededEntropy entropy(seed);
        Fixture f;
        for (int step = 0; step < 60; ++step) {
            std::vector<Buffer> data;
            const auto type = static_cast<std::uint32_t>(entropy.below(15));
            const bool is_read = type == kIn || type == kGetId;
            for (std::uint64_t i = entropy.below(4); i > 0; --i) {
                const auto length = entropy.below(8) == 0 ? 1 + entropy.below(600) : 512;
                data.push_back({kData.value() + entropy.below(0x1000),
                                static_cast<std::uint32_t>(length), is_read});
            }
            const auto sector =
                entropy.below(4) == 0 ? entropy.next_u64() : entropy.below(kSectors);
            for (const BlkRequest& request : f.ask(type, sector, data).requests) {
                ++taken;
                REQUIRE(request.length <= kSectors * kSectorBytes);
                REQUIRE(request.sector <= kSectors - request.length / kSectorBytes);
            }
            const auto state = f.blk.state();
            const auto restored = Blk::from_state({kSectors, false, "ftvmm-disk"}, state);
            REQUIRE(restored);
            REQUIRE(restored->state() == state);
            if (state.in_flight.empty() || entropy.below(4) == 0) continue;
            const BlkRequest request =
                state.in_flight[entropy.below(state.in_flight.size())].request;
            (void)f.blk.complete(f.dma, request.id, entropy.below(4) != 0,
                                 pattern(request.kind == Kind::kRead ? request.length : 0));
        }
    }
    CHECK(taken > 500);
}

}  // namespace
}  // namespace ftvmm::virtio
