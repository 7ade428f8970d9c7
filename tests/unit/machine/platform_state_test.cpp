#include <algorithm>

#include <catch2/catch.hpp>

#include "random_guest.h"
#include "vmm/machine/machine_state.h"

namespace ftvmm::machine {
namespace {

using testing::Guest;
using testing::guest_config;
using testing::RandomGuest;

constexpr std::uint64_t kSeeds = 150;
constexpr int kSteps = 150;

// The state as it comes out of a file's message.
Platform::State through_message(const Platform::State& state) {
    MachineState machine;
    machine.config.virtio = guest_config();
    machine.machine.platform = state;
    const auto encoded = encode_state(machine);
    REQUIRE(encoded);
    const auto decoded = decode_state(encoded->message, encoded->bulk);
    REQUIRE(decoded);
    return decoded->machine.platform;
}

void copy_memory(const Guest& from, const Guest& to) {
    std::ranges::copy(from.memory.bytes(), to.memory.bytes().begin());
}

TEST_CASE("A machine restored in the middle of anything goes on as the saved one does") {
    std::size_t asked_again = 0;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        INFO("seed " << seed);
        Guest first;
        RandomGuest mind(seed);
        mind.start(first);
        for (int i = 0; i < kSteps; ++i)
            (void)mind.step(first);

        const auto state = first.platform.state();
        Guest second;
        copy_memory(first, second);
        REQUIRE(second.platform.restore(guest_config(), through_message(state)));
        // The first has been asked already: this is for the second's host alone.
        for (const auto& output : second.platform.take_outputs())
            asked_again += output.index() == 3 ? 1 : 0;
        REQUIRE((second.platform.state() == state));

        RandomGuest same_mind = mind.moved_to(second);
        for (int i = 0; i < kSteps; ++i) {
            INFO("step " << i);
            REQUIRE((mind.step(first) == same_mind.step(second)));
        }
        REQUIRE((first.platform.state() == second.platform.state()));
        REQUIRE(std::ranges::equal(first.memory.bytes(), second.memory.bytes()));
    }
    CHECK(asked_again > 0);
}

TEST_CASE("What was in flight is asked for again, and each card's offload reported") {
    Guest first;
    RandomGuest mind(1);
    mind.start(first);
    while (mind.disk_requests.size() < 3 || mind.entropy_requests.empty())
        (void)mind.step(first);
    const auto state = first.platform.state();
    Guest second;
    copy_memory(first, second);
    REQUIRE(second.platform.restore(guest_config(), state));

    std::vector<replay::output::DiskRequest> disks;
    std::size_t entropy = 0;
    std::size_t offloads = 0;
    for (const auto& output : second.platform.take_outputs()) {
        if (const auto* disk = std::get_if<replay::output::DiskRequest>(&output)) {
            disks.push_back(*disk);
        }
        if (std::holds_alternative<replay::output::EntropyRequest>(output)) ++entropy;
        const auto* offload = std::get_if<replay::output::NicOffload>(&output);
        if (offload != nullptr) {
            ++offloads;
            CHECK((*offload == replay::output::NicOffload{0, true, true, true, true}));
        }
    }
    CHECK(offloads == 1);
    CHECK(entropy == mind.entropy_requests.size());
    const auto order = [](const auto& a, const auto& b) {
        return std::pair(a.disk, a.id) < std::pair(b.disk, b.id);
    };
    std::ranges::sort(mind.disk_requests, order);
    REQUIRE(disks.size() == mind.disk_requests.size());
    for (std::size_t i = 0; i < disks.size(); ++i) {
        CHECK(disks[i].id == mind.disk_requests[i].id);
        CHECK(disks[i].operation == mind.disk_requests[i].operation);
        CHECK(disks[i].offset == mind.disk_requests[i].offset);
        CHECK(disks[i].data == mind.disk_requests[i].data);
    }
}

// The error of restoring a used machine's state after `change`, or "".
template <class Function>
std::string error_after(Function change) {
    Guest first;
    RandomGuest mind(2);
    mind.start(first);
    for (int i = 0; i < kSteps; ++i)
        (void)mind.step(first);
    auto state = first.platform.state();
    change(state);
    Guest second;
    const auto before = second.platform.state();
    const auto restored = second.platform.restore(guest_config(), state);
    if (!restored) CHECK((second.platform.state() == before));
    return restored ? "" : restored.error().what();
}

bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("A state that no machine can be in is refused, and changes nothing") {
    CHECK(error_after([](Platform::State&) {}).empty());
    CHECK(contains(error_after([](Platform::State& state) { state.now_ns = -1; }), "clock"));
    CHECK(contains(error_after([](Platform::State& state) {
                       state.interrupts.apic.period_start_ns = state.now_ns + 1;
                   }),
                   "after the state was saved"));
    CHECK(contains(
        error_after([](Platform::State& state) { state.rtc.advanced_ns = state.now_ns + 1; }),
        "after the state was saved"));
    CHECK(contains(error_after([](Platform::State& state) {
                       state.interrupts.pv_eoi_msr = testing::kGuestBytes + 1;
                   }),
                   "not in the guest's memory"));
    CHECK(contains(error_after([](Platform::State& state) { state.virtio.disks.pop_back(); }),
                   "other disks"));
    CHECK(contains(error_after([](Platform::State& state) { state.virtio.nics.emplace_back(); }),
                   "other disks or network cards"));
    CHECK(contains(error_after([](Platform::State& state) {
                       state.virtio.waiting_packets[0].resize(kMaxWaitingPackets + 1);
                   }),
                   "more input waits"));
    CHECK(contains(error_after([](Platform::State& state) {
                       state.waiting_serial_bytes.resize(kMaxWaitingConsoleBytes + 1);
                   }),
                   "more input waits"));
    CHECK(contains(error_after([](Platform::State& state) {
                       state.virtio.disks[0].transport.device_config[0] ^= std::byte{1};
                   }),
                   "disk is another one"));
}

TEST_CASE("Input that nobody takes is kept to its limit and then lost, and can be restored") {
    Guest guest;
    RandomGuest mind(3);
    mind.start(guest);
    const std::vector<std::byte> frame(100);
    const std::vector<std::byte> typed(kMaxWaitingConsoleBytes);
    for (std::size_t i = 0; i < kMaxWaitingPackets + 5; ++i)
        guest.platform.apply(replay::input::Packet{0, frame});
    for (int i = 0; i < 2; ++i) {
        guest.platform.apply(replay::input::ConsoleBytes{typed, replay::ConsolePort::kVirtio});
        guest.platform.apply(replay::input::ConsoleBytes{typed, replay::ConsolePort::kSerial});
    }
    const auto state = guest.platform.state();
    CHECK(state.virtio.waiting_packets[0].size() == kMaxWaitingPackets);
    CHECK(state.virtio.waiting_console_bytes.size() == kMaxWaitingConsoleBytes);
    CHECK(state.waiting_serial_bytes.size() == kMaxWaitingConsoleBytes);
    Guest second;
    CHECK(second.platform.restore(guest_config(), state));
}

TEST_CASE("A state with numbers changed is refused or can be lived with") {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        Guest first;
        RandomGuest mind(seed);
        mind.start(first);
        for (int i = 0; i < 40; ++i)
            (void)mind.step(first);
        MachineState machine;
        machine.config.virtio = guest_config();
        machine.machine.platform = first.platform.state();
        auto encoded = encode_state(machine);
        REQUIRE(encoded);
        SeededEntropy random(seed);
        for (int i = 0; i < 3; ++i) {
            encoded->message.at(random.below(encoded->message.size())) =
                static_cast<char>(random.next_u64());
        }
        const auto decoded = decode_state(encoded->message, encoded->bulk);
        Guest second;
        if (!decoded || !second.platform.restore(guest_config(), decoded->machine.platform)) {
            continue;
        }
        (void)second.platform.take_outputs();
        RandomGuest other = mind.moved_to(second);
        for (int i = 0; i < 40; ++i)
            (void)other.step(second);
    }
}

}  // namespace
}  // namespace ftvmm::machine
