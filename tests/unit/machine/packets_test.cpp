// Frames on their way into the guest.
#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "platform_driver.h"

namespace ftvmm::machine {
namespace {

using virtio::testing::Buffer;
using virtio::testing::DriverQueue;

constexpr Gpa kRings{0x1'0000};
constexpr Gpa kRoom{0x8'0000};
constexpr std::uint32_t kRoomBytes = 2048;

struct Machine {
    GuestMemory memory = virtio::testing::make_memory(1 << 20);
    Platform platform{{.disks = {}, .nics = {{{2, 0, 0, 0, 0, 1}}}}, memory};
    testing::StartedDevice nic = testing::start_device(memory, platform,
                                                       {.slot = kFirstNicSlot,
                                                        .queues = 2,
                                                        .rings = kRings,
                                                        .rings_bytes = 0x4000,
                                                        .ring_size = 16});

    void make_room() {
        (void)nic.queues[0].add(std::vector<Buffer>{{kRoom.value(), kRoomBytes, true}});
    }
    void give(std::byte fill) {
        std::vector<std::byte> frame(100, fill);
        std::ranges::fill_n(frame.begin(), virtio::kNetHeaderBytes, std::byte{0});
        platform.apply(replay::input::Packet{0, frame});
    }
    // The last byte of the frame that has just come.
    [[nodiscard]] std::byte last_byte() const { return memory.find(kRoom + 99, 1)[0]; }
};

TEST_CASE("A frame that finds room is in the guest at once, and none waits") {
    Machine machine;
    machine.make_room();
    machine.give(std::byte{1});
    CHECK(machine.nic.queues[0].take_used()->written == 100);
    CHECK(machine.last_byte() == std::byte{1});
    CHECK(machine.platform.wants_packets(0));
}

TEST_CASE("A frame without room waits, the ones behind it too, and they go in their order") {
    Machine machine;
    machine.give(std::byte{1});
    CHECK_FALSE(machine.platform.wants_packets(0));
    // There is room for the second, which must not overtake the first.
    machine.make_room();
    machine.give(std::byte{2});
    CHECK(machine.nic.queues[0].take_used()->written == 100);
    CHECK(machine.last_byte() == std::byte{1});
    CHECK_FALSE(machine.platform.wants_packets(0));
    machine.make_room();
    machine.platform.write_port(machine.nic.doorbell, 2, 0);
    CHECK(machine.last_byte() == std::byte{2});
    CHECK(machine.platform.wants_packets(0));
}

TEST_CASE("A frame for a card that is not running is lost, and does not come out stale") {
    GuestMemory memory = virtio::testing::make_memory(1 << 20);
    Platform platform{{.disks = {}, .nics = {{{2, 0, 0, 0, 0, 1}}}}, memory};
    platform.apply(replay::input::Packet{0, std::vector<std::byte>(100)});
    CHECK(platform.wants_packets(0));
}

}  // namespace
}  // namespace ftvmm::machine
