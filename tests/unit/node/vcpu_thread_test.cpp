#include "node/vcpu_thread.h"

#include <poll.h>

#include <csignal>
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

TEST_CASE("A flood of frames for a guest that computes costs few kicks, and no frame is lost") {
    Wire wire = make_wire();
    IoOptions options;
    options.taps.push_back(std::move(wire.tap));
    Host host(std::move(options));
    constexpr int kFrames = 20000;
    int frames = 0;
    // Each kick takes a while to reach it, as on a host whose cores are busy.
    ToyGuest guest(
        [](ToyGuest& self) {
            sigset_t all{};
            ::sigfillset(&all);
            constexpr timespec kWhile{0, 1000000};
            (void)::ppoll(nullptr, 0, &kWhile, &all);
            return self.compute();
        },
        [&](ToyGuest&, const Input& input) {
            const auto& packet = std::get<replay::input::Packet>(input);
            if (text_of(packet.frame) == std::to_string(frames)) ++frames;
            if (frames == kFrames) host.control.stop();
        });
    std::thread other([&] {
        for (int i = 0; i < kFrames; ++i)
            if (!send_frame(wire.far, std::to_string(i))) return host.control.stop();
    });
    (void)host.run(guest);
    other.join();
    CHECK(frames == kFrames);
    CHECK(host.statistics.kicks > 0);
    CHECK(host.statistics.kicks < kFrames / 20);
}

TEST_CASE("Frames that the guest does not want wake nobody, and reach it once it does") {
    Wire wire = make_wire();
    IoOptions options;
    options.taps.push_back(std::move(wire.tap));
    Host host(std::move(options));
    constexpr int kUnwanted = 300;  // More than a lane holds.
    constexpr int kWanted = 100;    // With what is left of those, less than the wire holds.
    constexpr int kFrames = 1 + kUnwanted + kWanted;
    const auto send_frames = [&wire](int count) {
        for (int i = 0; i < count; ++i)
            REQUIRE(send_frame(wire.far, "x"));
    };
    int exits = 0;
    std::string got;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            // The first frame wakes: nobody has looked yet whether the guest wants it.
            if (++exits == 1) {
                self.wants_input = false;
                send_frames(1);
                while (host.control.waker().kicks() == 0)
                    (void)::poll(nullptr, 0, 1);
                return replay::stop::Exit{};
            }
            // Its driver makes room at an exit of its own, and no new frame announces the old ones.
            if (exits == 2) {
                // The first frame's signal may come as late as here.
                while (self.kicks == 0)
                    (void)::poll(nullptr, 0, 1);
                send_frames(kUnwanted);
                (void)::poll(nullptr, 0, 20);
                CHECK(host.control.waker().kicks() == 1);
                self.wants_input = true;
                return replay::stop::Exit{};
            }
            if (exits == 3) send_frames(kWanted);
            return replay::stop::Halted{};
        },
        [&](ToyGuest&, const Input& input) {
            got += text_of(std::get<replay::input::Packet>(input).frame);
            if (got.size() == kFrames) host.control.stop();
        });
    (void)host.run(guest);
    CHECK(got.size() == kFrames);
}

TEST_CASE("Frames for which the host has no room wait, in order, and go when there is some") {
    Wire wire = make_wire();
    IoOptions options;
    options.taps.push_back(std::move(wire.tap));
    Host host(std::move(options));
    // As many as the wire holds, and a few more.
    int sent = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (sent == 400) return replay::stop::Halted{};
            self.outputs.emplace_back(replay::output::Packet{0, bytes_of(std::to_string(sent++))});
            return replay::stop::Exit{};
        },
        echo);
    int received = 0;
    std::thread other([&] {
        (void)::poll(nullptr, 0, 50);
        while (received < 400 && receive_frame(wire.far) == std::to_string(received))
            ++received;
        host.control.stop();
    });
    (void)host.run(guest);
    other.join();
    CHECK(received == 400);
    CHECK(host.statistics.lost_frames == 0);
}

TEST_CASE("Random bytes are there at the next look, for a guest that sleeps too") {
    Host host;
    std::vector<std::size_t> lengths;
    int runs = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (++runs == 1) self.outputs.emplace_back(replay::output::EntropyRequest{7, 64});
            return replay::stop::Halted{};
        },
        [&](ToyGuest& self, const Input& input) {
            lengths.push_back(std::get<replay::input::Entropy>(input).bytes.size());
            if (lengths.size() == 2) host.control.stop();
            // Asked for while an input is applied, as a device's queue may be served then.
            if (lengths.size() == 1)
                self.outputs.emplace_back(replay::output::EntropyRequest{8, 16});
        });
    (void)host.run(guest);
    CHECK(lengths == std::vector<std::size_t>{64, 16});
}

TEST_CASE("All that a guest prints is printed, in order, though it prints faster than the host") {
    const auto printed = std::make_shared<Printed>();
    IoOptions options;
    options.consoles.push_back(
        {replay::ConsolePort::kSerial, std::make_unique<PrintedConsole>(printed)});
    std::string expected;
    {
        Host host(std::move(options));
        ToyGuest guest(
            [&](ToyGuest& self) -> Stop {
                if (expected.size() > 100000) return replay::stop::PoweredOff{};
                for (int i = 0; i < 5000; ++i) {
                    expected += static_cast<char>('a' + expected.size() % 26);
                    self.outputs.emplace_back(replay::output::ConsoleBytes{
                        bytes_of(expected.substr(expected.size() - 1))});
                }
                return replay::stop::Exit{};
            },
            [](ToyGuest&, const Input&) {});
        CHECK(std::holds_alternative<end::PoweredOff>(host.run(guest)));
    }
    CHECK(printed->text() == expected);
}

TEST_CASE("Guest time goes on from where a machine was saved, and never falls") {
    Host host;
    std::vector<GuestTime> seen;
    ToyGuest guest([](ToyGuest&) -> Stop { return replay::stop::NeedsTime{}; },
                   [&](ToyGuest&, const Input& input) {
                       seen.push_back(std::get<replay::input::Time>(input).now);
                       if (seen.size() == 1000) host.control.stop();
                   });
    constexpr GuestTime kSaved(std::chrono::hours(1));
    REQUIRE(host.vcpu->run(guest, kSaved));
    CHECK(seen.front() >= kSaved);
    CHECK(seen.front() < kSaved + std::chrono::minutes(1));
    CHECK(std::ranges::is_sorted(seen));
}

TEST_CASE("A call reaches a machine that computes, and one after its end gets an error") {
    Host host;
    ToyGuest guest([](ToyGuest& self) { return self.compute(); }, [](ToyGuest&, const Input&) {});
    std::atomic<int> answered{0};
    std::vector<std::thread> callers;
    callers.reserve(3);
    for (int i = 0; i < 3; ++i) {
        callers.emplace_back([&] {
            for (int j = 0; j < 100; ++j) {
                if (host.control.call([](replay::GuestMachine& machine) { machine.clear_kick(); }))
                    ++answered;
            }
            if (answered == 300) host.control.stop();
        });
    }
    (void)host.run(guest);
    for (std::thread& caller : callers)
        caller.join();
    CHECK(answered == 300);
    std::thread late([&] {
        if (!host.control.call([](replay::GuestMachine&) {})) ++answered;
    });
    host.control.close();
    late.join();
    CHECK(answered == 301);
}

}  // namespace
}  // namespace ftvmm::node
