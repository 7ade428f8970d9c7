// Data that a disk moves to and from guest memory by itself.
#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "driver.h"
#include "vmm/virtio/blk.h"

namespace ftvmm::virtio {
namespace {

using testing::Buffer;
using testing::Driver;
using testing::DriverQueue;
using testing::poke;

constexpr Gpa kBase{0x4000};
constexpr Gpa kTable{0x9000};
constexpr Gpa kHeader{0x1'0000};
constexpr Gpa kStatus{0x1'1000};
constexpr Gpa kData{0x10'0000};
constexpr std::uint16_t kQueueSize = 8;
constexpr std::uint32_t kPage = kPageBytes;
constexpr std::uint32_t kIn = 0;
constexpr std::uint32_t kOut = 1;
constexpr std::uint64_t kFeatures = feature::kVersion1 | feature::kIndirect;

struct Fixture {
    GuestMemory memory = testing::make_memory(0x80'0000);
    Dma dma{memory};
    Blk blk{{4096, false, ""}};
    Driver driver{memory, blk};
    DriverQueue queue = driver.start(kFeatures, kBase, kQueueSize);

    Fixture() { blk.move_in_place(true); }
    // The one request that comes of it.
    PlacedRequest ask(std::uint32_t type, const std::vector<Buffer>& data) {
        poke(memory, kHeader, type);
        poke(memory, kStatus, std::uint8_t{0xee});
        std::vector<Buffer> buffers{{kHeader.value(), 16}};
        buffers.insert(buffers.end(), data.begin(), data.end());
        buffers.push_back({kStatus.value(), 1, true});
        (void)queue.add_indirect(buffers, kTable);
        const auto work = blk.notify(dma, 0);
        REQUIRE(work.requests.size() == 1);
        return work.requests[0];
    }
    [[nodiscard]] int status() const { return static_cast<int>(memory.find(kStatus, 1)[0]); }
    [[nodiscard]] std::uint64_t read_status() {
        return driver.read(kCommonOffset + testing::common::kStatus, 1);
    }
    void write_status(std::uint8_t value) {
        driver.write(kCommonOffset + testing::common::kStatus, 1, value);
    }
};

TEST_CASE("A read in place names where its data goes, and its end tells no more than that it is") {
    Fixture f;
    const auto request = f.ask(kIn, {{kData.value() + 2 * kPage, kPage, true},
                                     {kData.value() + 3 * kPage, 2 * kPage, true},
                                     {kData.value(), kPage, true}});
    // Neighbours are one.
    CHECK(request.place == std::vector<Range>{{kData + 2 * kPage, 3 * kPage}, {kData, kPage}});
    CHECK(request.length == 4 * kPage);
    const auto pieces = f.dma.pieces_of(request.place);
    CHECK(pieces.size() == request.length);
    CHECK(pieces.pieces.at(1).data() == f.memory.find(kData, 1).data());
    std::ranges::fill(pieces.pieces.at(1), std::byte{7});
    CHECK(f.blk.complete(f.dma, request.id, true).size() == 1);
    CHECK(f.status() == 0);
    CHECK(f.queue.take_used()->written == 4 * kPage + 1);
    CHECK(f.memory.find(kData, 1)[0] == std::byte{7});
}

TEST_CASE("A write in place is not copied") {
    Fixture f;
    const auto request = f.ask(kOut, {{kData.value(), 2 * kPage}});
    CHECK(request.place == std::vector<Range>{{kData, 2 * kPage}});
    CHECK(request.data.size() == 0);
    (void)f.blk.complete(f.dma, request.id, true);
    CHECK(f.status() == 0);
    CHECK(f.queue.take_used()->written == 1);
}

TEST_CASE("A read in place that fails is an I/O error") {
    Fixture f;
    const auto request = f.ask(kIn, {{kData.value(), kPage, true}});
    (void)f.blk.complete(f.dma, request.id, false);
    CHECK(f.status() == 1);
    CHECK(f.queue.take_used()->written == 0);
}

TEST_CASE("Data in other than whole pages takes the way through the machine") {
    Fixture f;
    const std::vector<Buffer> odd{{kData.value(), kPage, true}, {kData.value() + kPage, 512, true}};
    const auto request = f.ask(kIn, odd);
    CHECK(request.place.empty());
    std::vector<std::byte> bytes(request.length);
    SeededEntropy(1).fill(bytes);
    (void)f.blk.complete(f.dma, request.id, true, bytes);
    CHECK(f.status() == 0);
    CHECK(std::ranges::equal(f.memory.find(kData, bytes.size()), bytes));
    CHECK(f.ask(kIn, {{kData.value() + 512, kPage, true}}).place.empty());
    const auto write = f.ask(kOut, {{kData.value() + 512, kPage}});
    CHECK(write.place.empty());
    CHECK(write.data.size() == kPage);
}

TEST_CASE("Data is in place until the last request that was is done, though it be switched off") {
    Fixture f;
    const auto old = f.ask(kIn, {{kData.value(), kPage, true}});
    f.blk.move_in_place(false);
    CHECK(f.blk.is_moving_in_place());
    const auto fresh = f.ask(kIn, {{kData.value() + kPage, kPage, true}});
    CHECK(fresh.place.empty());
    (void)f.blk.complete(f.dma, old.id, true);
    CHECK_FALSE(f.blk.is_moving_in_place());
    // What is left a state can hold, and another disk goes on with.
    const auto state = f.blk.state();
    CHECK(state.in_flight.size() == 1);
    CHECK(Blk::from_state({4096, false, ""}, state));
}

TEST_CASE("A reset is not over while a disk may still write to the memory of the driver before") {
    Fixture f;
    const auto first = f.ask(kIn, {{kData.value(), kPage, true}});
    const auto second = f.ask(kOut, {{kData.value() + kPage, kPage}});
    f.write_status(0);
    CHECK(f.blk.in_flight().empty());
    CHECK(f.read_status() != 0);
    CHECK(f.blk.complete(f.dma, second.id, true).empty());
    CHECK(f.read_status() != 0);
    CHECK(f.blk.is_moving_in_place());
    CHECK(f.blk.complete(f.dma, first.id, true).empty());
    CHECK(f.read_status() == 0);
    CHECK(f.status() == 0xee);
    // The next driver's requests do not hold up anything.
    f.queue = f.driver.start(kFeatures, kBase, kQueueSize);
    (void)f.ask(kIn, {{kData.value(), kPage, true}});
    CHECK(f.read_status() == 15);
}

TEST_CASE("Pieces of a memory outlive it") {
    MemoryPieces pieces;
    {
        const GuestMemory memory = testing::make_memory(4 * kPageBytes);
        pieces = Dma(memory).pieces_of(std::vector<Range>{{Gpa(kPageBytes), kPage}});
    }
    std::ranges::fill(pieces.pieces.at(0), std::byte{3});
    CHECK(pieces.pieces[0][kPageBytes - 1] == std::byte{3});
}

}  // namespace
}  // namespace ftvmm::virtio
