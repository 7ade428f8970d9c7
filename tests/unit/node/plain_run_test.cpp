#include "node/plain_run.h"

#include <poll.h>

#include <csignal>
#include <filesystem>
#include <future>
#include <thread>

#include "fixture.h"

namespace ftvmm::node {
namespace {

using replay::Input;
using replay::Stop;

struct Plain {
    PlainRun options;
    std::shared_ptr<Printed> logged = std::make_shared<Printed>();
    VcpuControl control;

    Plain() {
        options.log = [printed = logged](const std::string& line) {
            printed->add(std::as_bytes(std::span(line)));
        };
    }
    using MakeGuest = std::function<Result<std::unique_ptr<replay::GuestMachine>>()>;
    Result<PlainEnd> run(const MakeGuest& make) {
        const PowerOn power_on = [&make]() -> Result<NewGuest> {
            FTVMM_ASSIGN(auto machine, make());
            return NewGuest{std::move(machine), std::nullopt, {}};
        };
        return run_plainly(std::move(options), power_on, control);
    }
};

std::size_t threads_of_this_process() {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return static_cast<std::size_t>(std::distance(tasks, {}));
}

// A thread that was joined is listed a moment longer: its end is announced before it is complete.
bool threads_become(std::size_t wanted) {
    constexpr int kPatienceMs = 10000;
    for (int i = 0; i < kPatienceMs && threads_of_this_process() != wanted; ++i)
        (void)::poll(nullptr, 0, 1);
    return threads_of_this_process() == wanted;
}

TEST_CASE("A guest that resets itself finds the same network, and no thread stays behind") {
    // ThreadSanitizer starts a thread of its own beside the process's first one: counted with it.
    std::promise<std::size_t> counted;
    std::thread([&counted] { counted.set_value(threads_of_this_process()); }).join();
    const std::size_t threads = counted.get_future().get() - 1;
    Wire wire = make_wire();
    Plain plain;
    plain.options.taps.push_back(std::move(wire.tap));
    int power_ons = 0;
    const auto ended = plain.run([&]() -> Result<std::unique_ptr<replay::GuestMachine>> {
        const int number = ++power_ons;
        return std::make_unique<ToyGuest>(
            [number](ToyGuest& self) -> Stop {
                self.outputs.emplace_back(
                    replay::output::Packet{0, bytes_of(std::to_string(number))});
                if (number == 3) return replay::stop::PoweredOff{};
                return replay::stop::Reset{.triple_fault = number == 1};
            },
            [](ToyGuest& self, const Input& input) {
                // The time of day comes first, before the guest runs.
                REQUIRE(std::holds_alternative<replay::input::WallClock>(input));
                REQUIRE(self.landmark().exits == 0);
            });
    });
    REQUIRE(ended);
    CHECK(std::holds_alternative<end::PoweredOff>(ended->end));
    CHECK(ended->statistics.power_ons == 3);
    CHECK(receive_frame(wire.far) == "1");
    CHECK(receive_frame(wire.far) == "2");
    CHECK(receive_frame(wire.far) == "3");
    CHECK_THAT(plain.logged->text(), Catch::Contains("triple fault"));
    CHECK(threads_become(threads));
}

TEST_CASE("A guest that resets itself over and over is given up, with what to look at") {
    Plain plain;
    int power_ons = 0;
    const auto ended = plain.run([&]() -> Result<std::unique_ptr<replay::GuestMachine>> {
        ++power_ons;
        return std::make_unique<ToyGuest>([](ToyGuest&) -> Stop { return replay::stop::Reset{}; },
                                          [](ToyGuest&, const Input&) {});
    });
    REQUIRE_FALSE(ended);
    CHECK_THAT(ended.error().line(), Catch::Contains("5 times") && Catch::Contains("console"));
    CHECK(power_ons == ResetLoop::kMaxResets);
}

TEST_CASE("Resets of a guest that was up for a while are no loop") {
    ResetLoop loop;
    for (int i = 0; i < 20; ++i)
        CHECK_FALSE(loop.add(i % 4 == 3 ? ResetLoop::kShortLife : std::chrono::seconds(1)));
}

TEST_CASE("A guest that cannot be started is an error, and so is one that crashes an end") {
    Plain failing;
    const auto refused = failing.run(
        []() -> Result<std::unique_ptr<replay::GuestMachine>> { return fail("no kernel"); });
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what() == "no kernel");
    Plain crashing;
    const auto ended = crashing.run([]() -> Result<std::unique_ptr<replay::GuestMachine>> {
        return std::make_unique<ToyGuest>(
            [](ToyGuest&) -> Stop { return replay::stop::Crashed{"KVM has lost it"}; },
            [](ToyGuest&, const Input&) {});
    });
    REQUIRE(ended);
    CHECK(std::get<end::Crashed>(ended->end).why == "KVM has lost it");
}

// Sends itself SIGTERM once the guest runs, and again when its button is pressed `presses` times.
Result<std::unique_ptr<replay::GuestMachine>> deaf_guest(bool again) {
    return std::make_unique<ToyGuest>(
        [first = true](ToyGuest& self) mutable {
            if (std::exchange(first, false)) (void)::kill(::getpid(), SIGTERM);
            return self.compute();
        },
        [again](ToyGuest&, const Input& input) {
            if (again && std::holds_alternative<replay::input::PowerButton>(input))
                (void)::kill(::getpid(), SIGTERM);
        });
}

TEST_CASE("A first SIGTERM presses the power button, and the guest may shut down") {
    Plain plain;
    const auto ended = plain.run([]() -> Result<std::unique_ptr<replay::GuestMachine>> {
        auto pressed = std::make_shared<bool>(false);
        return std::make_unique<ToyGuest>(
            [pressed, first = true](ToyGuest&) mutable -> Stop {
                if (std::exchange(first, false)) (void)::kill(::getpid(), SIGTERM);
                if (*pressed) return replay::stop::PoweredOff{};
                return replay::stop::Halted{};
            },
            [pressed](ToyGuest&, const Input& input) {
                if (std::holds_alternative<replay::input::PowerButton>(input)) *pressed = true;
            });
    });
    REQUIRE(ended);
    CHECK(std::holds_alternative<end::PoweredOff>(ended->end));
}

TEST_CASE("A second SIGTERM ends the power at once, and so does the end of the grace") {
    const SystemClock clock;
    const Instant before = clock.now();
    Plain twice;
    const auto ended = twice.run([] { return deaf_guest(true); });
    REQUIRE(ended);
    CHECK(std::holds_alternative<end::Stopped>(ended->end));
    CHECK(clock.now() - before < std::chrono::seconds(30));
    Plain patient;
    patient.options.grace = std::chrono::seconds(1);
    const auto late = patient.run([] { return deaf_guest(false); });
    REQUIRE(late);
    CHECK(std::holds_alternative<end::Stopped>(late->end));
    CHECK_THAT(patient.logged->text(), Catch::Contains("did not shut down in time"));
}

}  // namespace
}  // namespace ftvmm::node
