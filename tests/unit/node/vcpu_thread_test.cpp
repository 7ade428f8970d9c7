#include "node/vcpu_thread.h"

#include <poll.h>

#include <thread>

#include "fixture.h"

namespace ftvmm::node {
namespace {

using replay::Input;
using replay::Stop;

constexpr std::chrono::milliseconds kSoon{5};

Stop halt(ToyGuest&) {
    return replay::stop::Halted{};
}

void echo(ToyGuest& guest, const Input& input) {
    if (const auto* packet = std::get_if<replay::input::Packet>(&input)) {
        guest.outputs.emplace_back(
            replay::output::Packet{packet->nic, {packet->frame.begin(), packet->frame.end()}});
    }
}

TEST_CASE("A guest that halts is woken by each frame, thousands of times") {
    Wire wire = make_wire();
    IoOptions options;
    options.taps.push_back(std::move(wire.tap));
    Host host(std::move(options));
    ToyGuest guest(halt, echo);
    constexpr int kRounds = 5000;
    int answered = 0;
    std::thread other([&] {
        while (answered < kRounds && send_frame(wire.far, std::to_string(answered)) &&
               receive_frame(wire.far) == std::to_string(answered))
            ++answered;
        host.control.stop();
    });
    const End end = host.run(guest);
    other.join();
    CHECK(answered == kRounds);
    CHECK(std::holds_alternative<end::Stopped>(end));
    CHECK(host.statistics.waits > kRounds / 4);
    // A guest that sleeps needs no signal.
    CHECK(host.statistics.kicks < kRounds / 10);
}

TEST_CASE("A deadline interrupts a guest that computes, when it is due and not before") {
    Host host;
    const SystemClock clock;
    int ticks = 0;
    std::vector<std::chrono::nanoseconds> late;
    ToyGuest guest([](ToyGuest& self) { return self.compute(); },
                   [&](ToyGuest& self, const Input& input) {
                       const auto now = std::get<replay::input::Time>(input).now;
                       late.push_back(now - GuestTime(std::chrono::milliseconds(2) * ticks));
                       if (++ticks == 50) host.control.stop();
                       self.deadline = GuestTime(std::chrono::milliseconds(2) * ticks);
                   });
    guest.deadline = GuestTime{};
    const Instant before = clock.now();
    (void)host.run(guest);
    CHECK(clock.now() - before >= std::chrono::milliseconds(98));
    REQUIRE(late.size() == 50);
    std::ranges::sort(late);
    CHECK(late.front() >= std::chrono::nanoseconds(0));
    CHECK(late[25] < kSoon);
}

TEST_CASE("A guest that sleeps is woken by its timer") {
    Host host;
    int ticks = 0;
    ToyGuest guest(halt, [&](ToyGuest& self, const Input&) {
        if (++ticks == 100) host.control.stop();
        self.deadline = GuestTime(std::chrono::milliseconds(ticks));
    });
    guest.deadline = GuestTime{};
    CHECK(std::holds_alternative<end::Stopped>(host.run(guest)));
    CHECK(ticks == 100);
    CHECK(host.statistics.waits >= 50);
}

}  // namespace
}  // namespace ftvmm::node
