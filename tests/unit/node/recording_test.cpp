// A guest that is recorded on real threads, with inputs that come whenever they come, and its log
// carried out again.
#include "node/recording.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "fixture.h"
#include "node/log_thread.h"
#include "node/plain_run.h"
#include "node/replay_run.h"
#include "temp_folder.h"
#include "toy_machine.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::node {
namespace {

using replay::testing::ToyFault;
using replay::testing::ToyMachine;
using replay::testing::ToyOptions;

// A disk that holds noise: what it reads is in no other place than the log.
class NoisyEngine final : public host::DiskEngine {
  public:
    [[nodiscard]] bool try_submit(host::DiskRequest&& request) override {
        if (request.buffer.size() > 0) entropy_.fill(request.buffer.bytes());
        done_.push_back({request.id, 0, std::move(request.buffer)});
        ready_.signal();
        return true;
    }
    [[nodiscard]] std::vector<host::DiskCompletion> take_completions() override {
        ready_.drain();
        return std::exchange(done_, {});
    }
    [[nodiscard]] int ready_fd() const override { return ready_.get(); }
    [[nodiscard]] const char* kind() const override { return "noisy"; }

  private:
    SystemEntropy entropy_;
    std::vector<host::DiskCompletion> done_;
    host::EventFd ready_ = *host::EventFd::create();
};

struct Folder : ftvmm::testing::TempFolder {
    [[nodiscard]] std::string log() const { return TempFolder::file("log"); }
};

std::vector<std::byte> seed_of(std::uint64_t number) {
    std::vector<std::byte> seed(16);
    SeededEntropy(number).fill(seed);
    return seed;
}

// Runs a toy guest, over its resets, to its end, or to one reset too many; another thread sends it
// frames all the while.
Result<PlainEnd> record(const std::string& path, std::uint64_t seed, const ToyOptions& options,
                        bool traces = false) {
    std::array<Wire, 2> wires{make_wire(), make_wire()};
    PlainRun run;
    for (Wire& wire : wires)
        run.taps.push_back(std::move(wire.tap));
    for (int i = 0; i < 2; ++i)
        run.disks.push_back({"noise", std::make_unique<NoisyEngine>()});
    run.handle_signals = false;
    run.log = [](const std::string&) {};
    VcpuControl control;
    auto writer = replay::LogWriter::create(path, {});
    REQUIRE(writer);
    LogThread log(std::move(*writer), [&](const Error&) { control.stop(); });
    Recording recording(log);
    run.recording = &recording;
    if (traces) recording.trace_exits();
    std::atomic<bool> over{false};
    std::thread network([&] {
        for (int i = 0; !over; ++i) {
            (void)send_frame(wires.at(i % 2U).far,
                             "a frame with its header, number " + std::to_string(i));
            for (const Wire& wire : wires) {
                while (!receive_frame(wire.far, 0).empty()) {
                }
            }
            (void)::poll(nullptr, 0, 1);
            if (i == 20000) control.stop();
        }
    });
    std::uint64_t life = 0;
    const PowerOn power_on = [&]() -> Result<NewGuest> {
        auto its_seed = seed_of(seed + 1000 * life++);
        return NewGuest{std::make_unique<ToyMachine>(its_seed, options), std::nullopt, its_seed};
    };
    auto ended = run_plainly(std::move(run), power_on, control);
    over = true;
    network.join();
    REQUIRE(log.finish());
    return ended;
}

Result<ReplayEnd> replay_it(const std::string& path, const ToyOptions& options) {
    auto log = replay::LogReader::open(path);
    REQUIRE(log);
    const MakeMachine make =
        [&](std::span<const std::byte> seed) -> Result<std::unique_ptr<replay::GuestMachine>> {
        return std::make_unique<ToyMachine>(seed, options);
    };
    return run_replay(*log, make, {});
}

TEST_CASE("What was recorded on real threads is replayed to the same end") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        const Folder folder;
        ToyOptions options;
        options.shows_time = seed % 2 == 0;
        options.mean_life = 1500;
        const auto recorded = record(folder.log(), seed, options);
        const auto replayed = replay_it(folder.log(), options);
        REQUIRE(replayed);
        INFO("seed " << seed);
        if (!recorded) {
            REQUIRE(std::holds_alternative<replay_end::LogEnded>(replayed->how));
            continue;
        }
        REQUIRE(std::holds_alternative<replay_end::Ended>(replayed->how));
        const auto kind = std::get<replay_end::Ended>(replayed->how).end.kind;
        CHECK((kind == replay::record::EndKind::kPoweredOff) ==
              std::holds_alternative<end::PoweredOff>(recorded->end));
    }
}

// How many exits a log traces; each life's from 1 on, without gaps.
std::size_t traces_in(const std::string& path) {
    auto log = replay::LogReader::open(path);
    REQUIRE(log);
    std::size_t traces = 0;
    std::uint64_t last = 0;
    while (true) {
        const auto batch = log->next();
        REQUIRE(batch);
        if (!*batch) return traces;
        for (const replay::Record& record : (*batch)->records) {
            const bool is_power_on = std::holds_alternative<replay::record::PowerOn>(record.body);
            const bool is_trace = std::holds_alternative<replay::record::Trace>(record.body);
            // Before anything else at its landmark, but for the mark that closes a batch.
            const bool may_precede = is_trace || is_power_on ||
                                     std::holds_alternative<replay::record::Mark>(record.body);
            if (traces > 0 && !may_precede) CHECK(record.at.exits == last);
            if (is_power_on) last = 0;
            if (!is_trace) continue;
            ++traces;
            CHECK(record.at.exits == ++last);
        }
    }
}

TEST_CASE("Where exits are traced, each is, before all else there, and the replay agrees") {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        const Folder folder;
        ToyOptions options;
        options.mean_life = 1500;
        options.least_life = 100;
        INFO("seed " << seed);
        const auto recorded = record(folder.log(), seed, options, true);
        CHECK(traces_in(folder.log()) >= options.least_life);
        const auto replayed = replay_it(folder.log(), options);
        REQUIRE(replayed);
        CHECK_FALSE(std::holds_alternative<replay_end::Diverged>(replayed->how));
        // And from the very exit on that is another.
        options.fault = {ToyFault::Kind::kHostClock, 5, 12345};
        const auto other = replay_it(folder.log(), options);
        REQUIRE(other);
        REQUIRE(std::holds_alternative<replay_end::Diverged>(other->how));
        const auto where = std::get<replay_end::Diverged>(other->how).divergence.where;
        CHECK((where.exits == 5 || where.exits == 6));
    }
    const Folder folder;
    (void)record(folder.log(), 1, {});
    CHECK(traces_in(folder.log()) == 0);
}

TEST_CASE("A guest with a hidden source of its own is found out") {
    const Folder folder;
    ToyOptions options;
    (void)record(folder.log(), 7, options);
    options.fault = {ToyFault::Kind::kHostClock, 5, 12345};
    const auto replayed = replay_it(folder.log(), options);
    REQUIRE(replayed);
    CHECK(std::holds_alternative<replay_end::Diverged>(replayed->how));
}

TEST_CASE("A replay goes no further than it is asked to") {
    const Folder folder;
    const ToyOptions options;
    (void)record(folder.log(), 3, options);
    auto log = replay::LogReader::open(folder.log());
    REQUIRE(log);
    const MakeMachine make =
        [&](std::span<const std::byte> seed) -> Result<std::unique_ptr<replay::GuestMachine>> {
        return std::make_unique<ToyMachine>(seed, options);
    };
    ReplayRun run;
    run.until_seq = replay::Seq(40);
    const auto replayed = run_replay(*log, make, run);
    REQUIRE(replayed);
    CHECK(std::holds_alternative<replay_end::Reached>(replayed->how));
    CHECK(replayed->records == 41);
}

// The guest's own thread is never held up by it, and nothing goes on behind what is not written.
TEST_CASE("A log that can not be written ends the guest, and what it holds is sound") {
    const Folder folder;
    VcpuControl control;
    auto writer = replay::LogWriter::create(folder.log(), {});
    REQUIRE(writer);
    std::string why;
    {
        LogThread log(std::move(*writer), [&](const Error& error) {
            why = error.line();
            control.stop();
        });
        Recording recording(log);
        const auto seed = seed_of(1);
        ToyMachine machine(seed);
        recording.power_on(machine, seed);
        // As a disk that is full says it.
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
        const rlimit full{64 << 10, before.rlim_max};
        const auto old = std::signal(SIGXFSZ, SIG_IGN);
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
        std::vector<std::byte> frame(1500);
        for (int i = 0; i < 500 && !control.is_stopping(); ++i) {
            SeededEntropy(static_cast<std::uint64_t>(i)).fill(frame);
            recording.input(machine, replay::input::Packet{0, frame});
        }
        CHECK_FALSE(log.finish());
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
        (void)std::signal(SIGXFSZ, old);
    }
    CHECK(control.is_stopping());
    CHECK_THAT(why, Catch::Contains(folder.log()));
    auto log = replay::LogReader::open(folder.log());
    REQUIRE(log);
    std::size_t batches = 0;
    while (*log->next())
        ++batches;
    CHECK(batches > 0);
    CHECK(log->tail().kind == replay::LogTail::Kind::kStopped);
}

}  // namespace
}  // namespace ftvmm::node
