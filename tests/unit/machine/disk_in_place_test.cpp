// A machine whose disks reach its memory by themselves.
#include <algorithm>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>

#include "platform_driver.h"

namespace ftvmm::machine {
namespace {

using replay::output::DiskRequest;
using testing::StartedDevice;
using virtio::testing::Buffer;
using virtio::testing::poke;

constexpr Gpa kRings{0x1'0000};
constexpr Gpa kHeader{0x3'0000};
constexpr Gpa kStatus{0x3'1000};
constexpr Gpa kData{0x8'0000};
constexpr std::uint32_t kPage = kPageBytes;

struct Machine {
    GuestMemory memory = virtio::testing::make_memory(1 << 20);
    Platform platform{{.disks = {{.sectors = 1024, .id = "a"}}, .nics = {}}, memory};
    StartedDevice disk = testing::start_device(
        memory, platform,
        {.slot = kFirstDiskSlot, .rings = kRings, .rings_bytes = 0x4000, .ring_size = 16});

    // What the machine asks of the disk when its guest reads two pages of it.
    DiskRequest read() {
        poke(memory, kHeader, 0U);
        poke(memory, kHeader + 8, std::uint64_t{8});
        (void)disk.queues[0].add(std::vector<Buffer>{
            {kHeader.value(), 16}, {kData.value(), 2 * kPage, true}, {kStatus.value(), 1, true}});
        platform.write_port(disk.doorbell, 2, 0);
        auto outputs = platform.take_outputs();
        REQUIRE(outputs.size() == 1);
        return std::get<DiskRequest>(outputs[0]);
    }
};

TEST_CASE("Where disks reach the memory a request names it, and its end wakes the guest") {
    Machine machine;
    (void)machine.platform.take_outputs();
    machine.platform.move_disk_data_in_place(true);
    const auto asked = machine.read();
    CHECK(asked.offset == 4096);
    REQUIRE(asked.place.pieces.size() == 1);
    CHECK(asked.place.pieces[0].data() == machine.memory.find(kData, 1).data());
    CHECK(asked.place.size() == asked.length);
    poke(machine.memory, kStatus, std::uint8_t{0xee});
    machine.platform.apply(replay::input::DiskCompletion{0, asked.id, true, {}});
    CHECK(machine.memory.find(kStatus, 1)[0] == std::byte{0});
    CHECK(machine.disk.queues[0].take_used()->written == 2 * kPage + 1);
}

TEST_CASE("No disk reaches the memory of a machine that was not told so") {
    Machine machine;
    (void)machine.platform.take_outputs();
    CHECK_FALSE(machine.platform.is_disk_data_moving_in_place());
    CHECK_FALSE(machine.read().place.is_any());
}

TEST_CASE("A machine can be saved once the last disk is done with its memory") {
    Machine machine;
    (void)machine.platform.take_outputs();
    machine.platform.move_disk_data_in_place(true);
    const auto asked = machine.read();
    machine.platform.move_disk_data_in_place(false);
    CHECK(machine.platform.is_disk_data_moving_in_place());
    machine.platform.apply(replay::input::DiskCompletion{0, asked.id, true, {}});
    CHECK_FALSE(machine.platform.is_disk_data_moving_in_place());
    CHECK(machine.platform.state().virtio.disks.at(0).in_flight.empty());
}

}  // namespace
}  // namespace ftvmm::machine
