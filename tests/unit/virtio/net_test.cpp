#include "vmm/virtio/net.h"

#include <algorithm>
#include <array>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "driver.h"

namespace ftvmm::virtio {
namespace {

using testing::Buffer;
using testing::Driver;
using testing::DriverQueue;
using testing::peek;
using testing::Used;

using Frames = std::vector<NetFrame>;

constexpr std::uint64_t kMemoryBytes = 0x10'0000;
constexpr Gpa kData{0x2'0000};
constexpr Gpa kTable{0xf'0000};
constexpr std::uint16_t kQueueSize = 8;
constexpr NetConfig kConfig{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
constexpr std::uint64_t kGuestOffloads = net_feature::kGuestChecksum | net_feature::kGuestTso4 |
                                         net_feature::kGuestTso6 | net_feature::kGuestEcn;
constexpr std::uint64_t kHostOffloads = net_feature::kChecksum | net_feature::kHostTso4 |
                                        net_feature::kHostTso6 | net_feature::kHostEcn;
constexpr std::uint64_t kPlain = feature::kVersion1 | net_feature::kMac | net_feature::kStatus;
constexpr std::uint64_t kAll = kPlain | kGuestOffloads | kHostOffloads | feature::kIndirect |
                               feature::kEventIdx | net_feature::kMergeableBuffers;

struct Fixture {
    GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma{memory};
    Net net{kConfig};
    Driver driver{memory, net};
    DriverQueue receive;
    DriverQueue transmit;

    explicit Fixture(std::uint64_t features = kAll)
        : receive(start(features)), transmit(driver.set_up(Net::kTransmit, Gpa(0x8000), 8)) {
        driver.add_status(status::kDriverOk);
    }
    DriverQueue start(std::uint64_t features) {
        driver.enable_pci();
        if (!driver.negotiate(features)) throw std::runtime_error("the features were refused");
        return driver.set_up(Net::kReceive, Gpa(0x4000), kQueueSize);
    }
    // Puts `frame` into memory and offers it in pieces of `piece` bytes.
    void send(const NetFrame& frame, std::size_t piece = 0x1'0000) {
        (void)memory.write(kData, frame);
        std::vector<Buffer> buffers;
        for (std::size_t at = 0; at < frame.size(); at += piece) {
            buffers.push_back({kData.value() + at,
                               static_cast<std::uint32_t>(std::min(piece, frame.size() - at))});
        }
        (void)transmit.add(buffers);
    }
    // Makes room for `size` bytes at the `index`-th of places that are 0x1000 apart.
    void make_room(std::uint64_t index, std::uint32_t size) {
        (void)receive.add(std::array{Buffer{kData.value() + 0x1000 * index, size, true}});
    }
    [[nodiscard]] NetFrame bytes_at(Gpa address, std::size_t size) const {
        const auto bytes = memory.find(address, size);
        return {bytes.begin(), bytes.end()};
    }
    Net::Received give(const std::vector<NetFrame>& frames) { return net.receive(dma, frames); }
};

// A frame of `size` bytes, its header included, that says nothing but how many buffers it has.
NetFrame make_frame(std::size_t size, std::uint16_t buffers = 0) {
    NetFrame frame(size);
    SeededEntropy(size).fill(std::span(frame).subspan(kNetHeaderBytes));
    pci::store_at(std::span(frame), kNetHeaderBuffers, buffers);
    return frame;
}

NetFrame with_type(NetFrame frame, std::uint8_t gso_type) {
    frame[0] = std::byte{1};
    frame[1] = static_cast<std::byte>(gso_type);
    return frame;
}

TEST_CASE("A card shows its address and that its link is up") {
    Fixture f;
    CHECK(f.net.config().read(pci::reg::kDeviceId, 2) == 0x1041);
    CHECK(f.driver.read(kDeviceOffset, 4) == 0x1200'5452);
    CHECK(f.driver.read(kDeviceOffset + 4, 2) == 0x5634);
    CHECK(f.driver.read(kDeviceOffset + 6, 2) == 1);
    CHECK(f.driver.read(kDeviceOffset + 8, 2) == 0);
    CHECK(f.driver.offered() == kAll);
    CHECK(f.driver.read(testing::common::kQueueCount, 2) == 2);
}

TEST_CASE("What the guest sends comes out in order, and the buffers go back at once") {
    Fixture f;
    const auto first = make_frame(100);
    const auto second = make_frame(1514 + kNetHeaderBytes);
    f.send(make_frame(100, 9));  // Nobody reads num_buffers here, and nobody gets it.
    auto work = f.net.notify(f.dma, Net::kTransmit);
    CHECK(work.frames == Frames{first});
    CHECK(work.interrupts.empty());
    CHECK(f.net.tell_sent(f.dma).size() == 1);
    CHECK(f.net.tell_sent(f.dma).empty());
    CHECK(f.transmit.take_used() == Used{0, 0});
    f.send(second, 700);
    (void)f.transmit.add_indirect(std::array{Buffer{kData.value(), kNetHeaderBytes},
                                             Buffer{kData.value() + kNetHeaderBytes, 14}},
                                  kTable);
    work = f.net.notify(f.dma, Net::kTransmit);
    REQUIRE(work.frames.size() == 2);
    CHECK(work.frames[0] == second);
    CHECK(work.frames[1] == NetFrame(second.begin(), second.begin() + 26));
    CHECK(f.net.tell_sent(f.dma).empty());  // The driver's event lies behind.
    CHECK(f.net.notify(f.dma, Net::kTransmit).frames.empty());
    CHECK(peek<std::uint16_t>(f.memory, f.transmit.available_event()) == 3);
}

TEST_CASE("Segments leave for the host to cut, as far as the driver negotiated it") {
    const auto segments = with_type(make_frame(kMaxFrameBytes), 1);
    Fixture f;
    f.send(segments);
    CHECK(f.net.notify(f.dma, Net::kTransmit).frames == Frames{segments});
    for (const auto lacking : {net_feature::kChecksum, net_feature::kHostTso4}) {
        Fixture g(kAll & ~lacking);
        g.send(segments);
        const auto work = g.net.notify(g.dma, Net::kTransmit);
        CHECK(work.frames.empty());
        CHECK(work.dropped == 1);
        CHECK(g.transmit.take_used() == Used{0, 0});
    }
}

TEST_CASE("A frame of the guest's that is too long, or has no Ethernet header, is dropped") {
    Fixture f;
    f.send(make_frame(kMaxFrameBytes + 1));
    f.send(NetFrame(25));
    const auto work = f.net.notify(f.dma, Net::kTransmit);
    CHECK(work.frames.empty());
    CHECK(work.dropped == 2);
    CHECK(f.transmit.take_used());
    CHECK(f.transmit.take_used());
    CHECK(f.net.is_running());
}

TEST_CASE("A chain of the wrong direction, or without a whole header, breaks the card") {
    const auto breaks = [](std::uint16_t index, const Buffer& buffer) {
        Fixture f;
        auto& queue = index == Net::kReceive ? f.receive : f.transmit;
        (void)queue.add(std::array{buffer});
        const auto interrupts = index == Net::kReceive ? f.give({make_frame(60)}).interrupts
                                                       : f.net.notify(f.dma, index).interrupts;
        CHECK(interrupts.size() == 1);
        CHECK(f.dma.take_written_pages().empty());
        return !f.net.is_running();
    };
    CHECK(breaks(Net::kTransmit, {kData.value(), 60, true}));
    CHECK(breaks(Net::kTransmit, {kData.value(), kNetHeaderBytes - 1, false}));
    CHECK(breaks(Net::kReceive, {kData.value(), 2000, false}));
    CHECK(breaks(Net::kReceive, {kData.value(), kNetHeaderBytes - 1, true}));
}

TEST_CASE("A batch of frames fills the driver's buffers with one interrupt") {
    Fixture f;
    for (std::uint64_t i = 0; i < 3; ++i)
        f.make_room(i, 1526);
    const auto received = f.give({make_frame(60), make_frame(1526)});
    CHECK(received.taken == 2);
    CHECK(received.dropped == 0);
    CHECK(received.interrupts == Interrupts{{0xfee0'0000, Driver::kFirstData + 1}});
    CHECK(f.receive.take_used() == Used{0, 60});
    CHECK(f.receive.take_used() == Used{1, 1526});
    CHECK(f.bytes_at(kData, 60) == make_frame(60, 1));
    CHECK(f.bytes_at(kData + 0x1000, 1526) == make_frame(1526, 1));
    CHECK(f.bytes_at(kData + 60, 1) == NetFrame(1));
    // The driver has not asked to hear of the third, nor is it to ring.
    CHECK(f.give({make_frame(60)}).interrupts.empty());
    CHECK(peek<std::uint16_t>(f.memory, f.receive.available_event()) == 0);
}

TEST_CASE("A frame is spread over as many buffers as it needs, each filled to its end") {
    Fixture f;
    (void)f.receive.add(
        std::array{Buffer{kData.value(), 5, true}, Buffer{kData.value() + 0x1000, 95, true}});
    f.make_room(2, 100);
    f.make_room(3, 100);
    f.make_room(4, 100);
    CHECK(f.give({make_frame(201)}).taken == 1);
    CHECK(f.receive.take_used() == Used{0, 100});
    CHECK(f.receive.take_used() == Used{2, 100});
    CHECK(f.receive.take_used() == Used{3, 1});
    CHECK_FALSE(f.receive.take_used());
    NetFrame got;
    for (const auto& [address, size] :
         {std::pair{kData, 5}, {kData + 0x1000, 95}, {kData + 0x2000, 100}, {kData + 0x3000, 1}}) {
        const auto bytes = f.bytes_at(address, static_cast<std::size_t>(size));
        got.insert(got.end(), bytes.begin(), bytes.end());
    }
    CHECK(got == make_frame(201, 3));
    CHECK(f.give({make_frame(100)}).taken == 1);
    CHECK(f.receive.take_used() == Used{4, 100});
}

TEST_CASE("A frame without room waits, and the driver is asked to ring") {
    Fixture f;
    const Frames frames{make_frame(60), make_frame(300), make_frame(61)};
    f.make_room(0, 100);
    f.make_room(1, 100);
    f.make_room(2, 100);
    auto received = f.give(frames);
    CHECK(received.taken == 1);
    CHECK(received.interrupts.size() == 1);
    CHECK(f.receive.take_used() == Used{0, 60});
    CHECK_FALSE(f.receive.take_used());
    CHECK(peek<std::uint16_t>(f.memory, f.receive.available_event()) == 3);
    f.make_room(3, 100);
    CHECK(f.driver.ring(Net::kReceive) == Net::kReceive);
    CHECK(f.net.notify(f.dma, Net::kReceive).has_room);
    f.make_room(4, 100);
    received = f.give({frames[1], frames[2]});
    CHECK(received.taken == 2);
    for (const Used& used : {Used{1, 100}, Used{2, 100}, Used{3, 100}, Used{4, 61}})
        CHECK(f.receive.take_used() == used);
}

TEST_CASE("Without mergeable buffers a frame has one, or is dropped") {
    Fixture f(kAll & ~net_feature::kMergeableBuffers);
    f.make_room(0, 1526);
    f.make_room(1, 1526);
    const auto received = f.give({make_frame(1527), make_frame(60)});
    CHECK(received.taken == 2);
    CHECK(received.dropped == 1);
    CHECK(f.receive.take_used() == Used{0, 60});
    CHECK_FALSE(f.receive.take_used());
    CHECK(f.bytes_at(kData, 60) == make_frame(60, 1));
}

TEST_CASE("A frame that a full ring cannot hold is dropped, and not one that it can") {
    Fixture f;
    for (std::uint64_t i = 0; i < kQueueSize; ++i)
        f.make_room(i, 100);
    auto received = f.give({make_frame(801)});
    CHECK(received.taken == 1);
    CHECK(received.dropped == 1);
    CHECK(received.interrupts.empty());
    received = f.give({make_frame(800)});
    CHECK(received.taken == 1);
    CHECK(received.dropped == 0);
    CHECK(f.receive.take_used() == Used{0, 100});
}

TEST_CASE("Frames from before a negotiation that the new driver cannot take are dropped") {
    const auto segments = with_type(make_frame(60), 1);
    Fixture f;
    f.make_room(0, 1526);
    CHECK(f.give({segments}).dropped == 0);
    Fixture plain(kPlain);
    plain.make_room(0, 1526);
    const auto received = plain.give({segments, make_frame(60)});
    CHECK(received.taken == 2);
    CHECK(received.dropped == 1);
    CHECK(plain.bytes_at(kData, 60) == make_frame(60, 1));
}

TEST_CASE("The tap may leave to the driver what it negotiated, and nothing before") {
    const GuestMemory memory = testing::make_memory(kMemoryBytes);
    Net net(kConfig);
    Driver driver(memory, net);
    CHECK(net.offload() == NetOffload{});
    const auto after = [&](std::uint64_t features) {
        CHECK(driver.negotiate(kPlain | features));
        return net.offload();
    };
    using namespace net_feature;
    CHECK(after(kGuestOffloads) == NetOffload{true, true, true, true});
    CHECK(after(kHostOffloads) == NetOffload{});
    CHECK(after(kGuestChecksum) == NetOffload{true, false, false, false});
    CHECK(after(kGuestChecksum | kGuestTso4) == NetOffload{true, true, false, false});
    CHECK(after(kGuestChecksum | kGuestTso6 | kGuestEcn) == NetOffload{true, false, true, true});
    CHECK(after(kGuestChecksum | kGuestEcn) == NetOffload{true, false, false, false});
    CHECK(after(kGuestTso4 | kGuestEcn) == NetOffload{});
    driver.write(testing::common::kStatus, 1, 0);
    CHECK(net.offload() == NetOffload{});
}

TEST_CASE("A card that is not running loses what comes, and sends nothing") {
    const GuestMemory memory = testing::make_memory(kMemoryBytes);
    Dma dma(memory);
    Net net(kConfig);
    const Frames frames{make_frame(60), make_frame(61)};
    const auto received = net.receive(dma, frames);
    CHECK(received.taken == 2);
    CHECK(received.dropped == 2);
    CHECK_FALSE(net.notify(dma, Net::kReceive).has_room);
    CHECK(net.notify(dma, Net::kTransmit).frames.empty());
    CHECK(net.notify(dma, 2).frames.empty());
    CHECK(dma.take_written_pages().empty());
}

TEST_CASE("A card goes on from its state, and from no other card's") {
    Fixture f;
    f.make_room(0, 1526);
    f.make_room(1, 1526);
    (void)f.give({make_frame(60)});
    f.send(make_frame(70));
    auto restored = Net::from_state(kConfig, f.net.state());
    REQUIRE(restored);
    CHECK(restored->state() == f.net.state());
    CHECK(restored->offload() == f.net.offload());
    CHECK(restored->notify(f.dma, Net::kTransmit).frames == Frames{make_frame(70)});
    CHECK(restored->receive(f.dma, std::array{make_frame(61)}).taken == 1);
    CHECK(f.receive.take_used() == Used{0, 60});
    CHECK(f.receive.take_used() == Used{1, 61});
    CHECK_FALSE(Net::from_state(NetConfig{}, f.net.state()));
    auto wrong = f.net.state();
    wrong.queues.pop_back();
    CHECK_FALSE(Net::from_state(kConfig, wrong));
}

// A driver that puts frames together again from the buffers it gets back.
class Reader {
  public:
    explicit Reader(std::uint64_t seed) : entropy_(seed) {}

    // Makes room of any size, as far as the ring has places.
    void make_room() {
        while (room_.size() < kQueueSize && entropy_.below(4) != 0) {
            const auto size = static_cast<std::uint32_t>(kNetHeaderBytes + entropy_.below(400));
            const std::uint64_t place = next_place_++ % kQueueSize;
            f_.make_room(place, size);
            room_.push_back({kData + 0x1000 * place, size});
        }
    }
    // Offers a frame until it is taken, with more room each time.
    void give(const NetFrame& frame) {
        auto received = f_.give({frame});
        for (; received.taken == 0; received = f_.give({frame})) {
            REQUIRE((room_.size() < kQueueSize && total_length(room_) < frame.size()));
            ++waited_;
            make_room();
        }
        if (received.dropped != 0) {
            REQUIRE(room_.size() == kQueueSize);
            REQUIRE(total_length(room_) < frame.size());
            return;
        }
        REQUIRE(take() == frame);
        ++given_;
    }
    [[nodiscard]] std::uint64_t given() const { return given_; }
    [[nodiscard]] std::uint64_t waited() const { return waited_; }

  private:
    // The next frame, all of whose buffers must have come back at once; num_buffers as it was sent.
    NetFrame take() {
        NetFrame frame;
        std::uint16_t left = peek<std::uint16_t>(f_.memory, room_.front().address + 10);
        for (bool more = true; more; more = --left > 0) {
            const auto used = f_.receive.take_used();
            REQUIRE(used);
            const auto bytes = f_.bytes_at(room_.front().address, used->written);
            REQUIRE((left == 1 || bytes.size() == room_.front().length));
            frame.insert(frame.end(), bytes.begin(), bytes.end());
            room_.erase(room_.begin());
        }
        REQUIRE_FALSE(f_.receive.take_used());
        pci::store_at(std::span(frame), kNetHeaderBuffers, std::uint16_t{0});
        return frame;
    }

    SeededEntropy entropy_;
    Fixture f_;
    std::vector<Range> room_;
    std::uint64_t next_place_ = 0;
    std::uint64_t given_ = 0;
    std::uint64_t waited_ = 0;
};

TEST_CASE("Frames and buffers of any sizes, from any seed, make whole frames in order") {
    std::uint64_t given = 0;
    std::uint64_t waited = 0;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        INFO("seed " << seed);
        SeededEntropy sizes(seed);
        Reader reader(seed);
        for (int i = 0; i < 60; ++i) {
            reader.make_room();
            reader.give(make_frame(26 + sizes.below(2500)));
        }
        given += reader.given();
        waited += reader.waited();
    }
    CHECK(given > 3000);
    CHECK(waited > 1000);
}

}  // namespace
}  // namespace ftvmm::virtio
