#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "flat_kernel.h"
#include "guest_test.h"
#include "images.h"
#include "replay/log_format.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "vmm/machine/kvm_machine.h"
#include "vmm/probe/run_limit.h"

namespace ftvmm::guests {

namespace {

using machine::KvmMachine;
using replay::Landmark;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{8} << 20U;
// Many times what the guest takes.
constexpr std::size_t kMostStops = 20000;
constexpr std::chrono::seconds kPatience{60};

// What checkpoint.S takes from COM1.
constexpr int kPlain = 0;
constexpr int kSse = 1;
constexpr int kInterrupts = 2;
constexpr int kTablesOnly = 4;
constexpr int kFaults = 8;

constexpr std::uint8_t kManyTurns = 255;

struct Course {
    int work = kPlain;
    std::uint8_t turns = 1;  // In sixteens, in a round.
    std::uint64_t seed = 0;
    // The latest kick. Without one nothing is kicked.
    std::optional<std::chrono::microseconds> longest_run;
};

// Where a machine stood that others must come to.
struct Place {
    std::uint64_t digest = 0;
    std::optional<KvmMachine::State> state;  // At a checkpoint.
    std::uint64_t memory_hash = 0;           // The same.
};
using Places = std::map<Landmark, Place>;

Result<std::unique_ptr<KvmMachine>> power_on(const kvm::System& system) {
    const auto kernel = make_kernel(images::checkpoint());
    FTVMM_ASSIGN(
        auto machine,
        KvmMachine::power_on(system, {.memory_bytes = kMemoryBytes, .virtio = {}},
                             {.kernel = kernel, .initrd = {}, .command_line = "", .rng_seed = {}}));
    machine->interrupt_at_landmarks_only();
    return machine;
}

Result<Place> checkpoint_place(const KvmMachine& machine) {
    Place place;
    place.digest = machine.digest();
    FTVMM_ASSIGN(place.state, machine.state());
    place.memory_hash = machine.memory_hash();
    return place;
}

template <class T>
bool same_bytes(const T& one, const T& other) {
    return std::memcmp(&one, &other, sizeof one) == 0;
}

// An error says what differs.
Result<void> compare(const KvmMachine& machine, const Place& wanted) {
    if (machine.digest() != wanted.digest) return fail("its exits differ");
    if (!wanted.state) return {};
    FTVMM_ASSIGN(const Place is, checkpoint_place(machine));
    const auto& cpu = is.state->cpu;
    const auto& wanted_cpu = wanted.state->cpu;
    if (!same_bytes(cpu.regs, wanted_cpu.regs)) {
        return fail(fmt::format("a register differs: it stands at {:#x}, and the other at {:#x}",
                                cpu.regs.rip, wanted_cpu.regs.rip));
    }
    if (!same_bytes(cpu.sregs, wanted_cpu.sregs)) return fail("a special register differs");
    if (!same_bytes(cpu.xsave, wanted_cpu.xsave)) return fail("the FPU differs");
    if (!same_bytes(cpu.debug, wanted_cpu.debug)) return fail("a debug register differs");
    if (!same_bytes(cpu.events, wanted_cpu.events)) return fail("a pending event differs");
    if (cpu.msrs != wanted_cpu.msrs) return fail("an MSR differs");
    if (is.state->platform != wanted.state->platform) return fail("a device differs");
    if (is.memory_hash != wanted.memory_hash) return fail("its memory differs");
    return {};
}

// A machine that runs, is kicked, and writes down what happens to it.
class Primary {
  public:
    Primary(KvmMachine& machine, replay::Recorder& recorder, Places& places, const Course& course)
        : machine_(&machine),
          recorder_(&recorder),
          places_(&places),
          course_(course),
          random_(course.seed),
          now_(machine.now()) {}

    // Tells the guest what to do, once.
    void power_on() {
        const std::array bytes{std::byte(course_.work), std::byte(course_.turns)};
        give(replay::input::ConsoleBytes{bytes});
    }
    // Runs on to the checkpoint of that number.
    Result<void> run_to(std::uint64_t checkpoints) {
        FTVMM_TRY(machine_->track_dirty_pages());
        while (machine_->landmark().checkpoints < checkpoints)
            FTVMM_TRY(run_once());
        recorder_->flush(*machine_);
        return {};
    }
    // Runs on for so many stops.
    Result<void> run_for(int stops) {
        FTVMM_TRY(machine_->track_dirty_pages());
        for (int i = 0; i < stops; ++i)
            FTVMM_TRY(run_once());
        return {};
    }
    // Runs on to the end, to which the guest comes by itself.
    Result<void> run_to_end() {
        course_.longest_run.reset();
        give(replay::input::ConsoleBytes{std::as_bytes(std::span("."))});
        while (!is_off_)
            FTVMM_TRY(run_once());
        recorder_->end(*machine_, replay::record::EndKind::kPoweredOff);
        return {};
    }

    [[nodiscard]] std::size_t kicks() const { return kicks_; }

  private:
    Result<void> run_once() {
        std::optional<RunLimit> limit;
        if (course_.longest_run) {
            const auto longest = static_cast<std::uint64_t>(course_.longest_run->count());
            const std::chrono::microseconds time(random_.below(longest + 1));
            FTVMM_ASSIGN(auto started, RunLimit::start(time));
            limit.emplace(std::move(started));
        }
        FTVMM_ASSIGN(const auto stop, machine_->run());
        if (!std::holds_alternative<replay::stop::Kicked>(stop)) return answer(stop);
        ++kicks_;
        return random_.below(2) == 0 ? take_checkpoint() : Result<void>();
    }
    void give(const replay::Input& input) {
        recorder_->record(*machine_, input);
        machine_->apply(input);
        mark_outputs();
    }
    void give_time(GuestTime at) {
        now_ = std::max(now_, at);
        give(replay::input::Time{now_});
    }
    void mark_outputs() {
        for (std::size_t i = machine_->take_outputs().size(); i > 0; --i)
            recorder_->output_mark(*machine_);
    }
    Result<void> take_checkpoint() {
        FTVMM_TRY(recorder_->checkpoint(*machine_));
        FTVMM_ASSIGN(places_->operator[](machine_->landmark()), checkpoint_place(*machine_));
        const auto due = machine_->next_deadline();
        const std::uint64_t what = random_.below(3);
        if (what == 0) give_time(now_ + std::chrono::microseconds(random_.below(20)));
        if (what == 1 && due) give_time(*due);
        return {};
    }
    // Does what `stop` asks for.
    Result<void> answer(const replay::Stop& stop) {
        using namespace replay::stop;
        if (++stops_ == kMostStops) return fail("it goes on and on");
        places_->operator[](machine_->landmark()).digest = machine_->digest();
        mark_outputs();
        if (const auto* crash = std::get_if<Crashed>(&stop)) return fail(crash->why);
        if (std::holds_alternative<Reset>(stop)) return fail("the guest was reset");
        is_off_ = std::holds_alternative<PoweredOff>(stop);
        if (std::holds_alternative<NeedsTime>(stop)) {
            give_time(now_ + std::chrono::microseconds(3));
        } else if (std::holds_alternative<Halted>(stop)) {
            const auto due = machine_->next_deadline();
            if (!due) return fail("the guest waits for nothing");
            give_time(*due);
        }
        if (random_.below(2) == 0) FTVMM_TRY(machine_->settle_dirty_pages());
        return {};
    }

    KvmMachine* machine_;
    replay::Recorder* recorder_;
    Places* places_;
    Course course_;
    SeededEntropy random_;
    GuestTime now_;
    std::size_t kicks_ = 0;
    std::size_t stops_ = 0;
    bool is_off_ = false;
};

// How long a round takes here that nothing kicks.
Result<std::chrono::microseconds> time_of_round(const kvm::System& system, const Course& course) {
    constexpr int kStops = 40;
    constexpr int kRounds = 7;  // About.
    Places places;
    replay::Recorder recorder;
    FTVMM_ASSIGN(const auto machine, power_on(system));
    Primary primary(*machine, recorder, places, course);
    primary.power_on();
    const SystemClock clock;
    const Instant start = clock.now();
    FTVMM_TRY(primary.run_for(kStops));
    return std::chrono::duration_cast<std::chrono::microseconds>(clock.now() - start) / kRounds;
}

// Rounds that last some milliseconds, where they can, and kicks at random in two of them: the guest
// now comes to an exit, now is kicked, and a follower has something to run by itself.
Result<Course> make_course(const kvm::System& system, int work, std::uint64_t seed) {
    constexpr std::chrono::microseconds kRound{3000};
    Course course{.work = work, .turns = 1, .seed = seed, .longest_run = {}};
    FTVMM_ASSIGN(const auto shortest, time_of_round(system, course));
    const auto turns = kRound / std::max(shortest, std::chrono::microseconds(1));
    course.turns = static_cast<std::uint8_t>(std::clamp<std::int64_t>(turns, 1, kManyTurns));
    FTVMM_ASSIGN(const auto round, time_of_round(system, course));
    course.longest_run = 2 * round;
    return course;
}

using Batches = std::vector<replay::ClosedBatch>;

// Has `machine` do all that is in `log` and compares it wherever that was written down.
Result<void> follow(KvmMachine& machine, replay::Replayer& replayer, const Batches& log,
                    const Places& places) {
    replay::BatchPacker packer;
    for (const auto& closed : log) {
        FTVMM_ASSIGN(auto batch, replay::decode_batch(packer.pack(closed.bytes)));
        FTVMM_TRY(replayer.feed(std::move(batch)));
    }
    FTVMM_ASSIGN(const RunLimit limit, RunLimit::start(kPatience));
    for (;;) {
        using namespace replay::step;
        FTVMM_ASSIGN(const auto step, replayer.step());
        (void)replayer.take_outputs();
        if (std::holds_alternative<NeedsRecords>(step)) return {};
        if (const auto* diverged = std::get_if<Diverged>(&step)) {
            return fail(replay::describe(diverged->divergence));
        }
        if (std::holds_alternative<Kicked>(step) && limit.passed()) return fail("it never ends");
        const bool is_there = std::holds_alternative<Progress>(step);
        const auto wanted = places.find(machine.landmark());
        if (is_there && wanted == places.end()) return fail("it came where the other was not");
        if (is_there) {
            if (const auto same = compare(machine, wanted->second); !same) {
                return Failure(same.error().with_context(replay::describe(machine.landmark())));
            }
        }
        if (std::holds_alternative<Ended>(step)) return {};
    }
}

struct Figures {
    std::size_t kicks = 0;
    std::uint64_t checkpoints = 0;
    std::uint64_t exits = 0;
    std::size_t bytes = 0;
};

// A guest's life: recorded by one machine; followed by a second, which takes over in the middle and
// records the rest; and all of it followed by a third.
Result<Figures> live(const kvm::System& system, const Course& course) {
    constexpr std::uint64_t kMostCheckpoints = 60;
    Places places;
    replay::Recorder recorder;
    FTVMM_ASSIGN(const auto first, power_on(system));
    Primary primary(*first, recorder, places, course);
    primary.power_on();
    FTVMM_TRY(primary.run_to(kMostCheckpoints / 2));
    Batches log = recorder.take_batches();

    FTVMM_ASSIGN(const auto second, power_on(system));
    replay::Replayer replayer(*second);
    FTVMM_TRY(follow(*second, replayer, log, places));
    if (second->landmark() != first->landmark()) return fail("the follower is not there");
    if (second->memory_hash() != first->memory_hash()) return fail("its memory differs");
    Course rest = course;
    rest.seed += 1000;
    Primary next(*second, recorder, places, rest);
    FTVMM_TRY(next.run_to(kMostCheckpoints));
    FTVMM_TRY(next.run_to_end());
    for (auto& batch : recorder.take_batches())
        log.push_back(std::move(batch));

    FTVMM_ASSIGN(const auto third, power_on(system));
    replay::Replayer again(*third);
    FTVMM_TRY(follow(*third, again, log, places));
    if (third->digest() != second->digest()) return fail("its exits differ");
    if (third->memory_hash() != second->memory_hash()) return fail("its memory differs at the end");
    Figures figures{primary.kicks() + next.kicks(), second->landmark().checkpoints,
                    second->landmark().exits, 0};
    for (const auto& batch : log)
        figures.bytes += batch.bytes.size();
    return figures;
}

// Each kind of work.
Result<void> live_often(const kvm::System& system, std::span<const int> kinds) {
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        FTVMM_ASSIGN(const Course course, make_course(system, kinds[i], i));
        const auto figures = live(system, course);
        if (!figures) {
            return Failure(figures.error().with_context(
                fmt::format("work {}, seed {}", course.work, course.seed)));
        }
        fmt::print(
            "work {}, {} turns, kicks up to {} us: {} kicks, {} checkpoints, {} exits, {} KiB of "
            "log\n",
            course.work, 16 * course.turns, course.longest_run->count(), figures->kicks,
            figures->checkpoints, figures->exits, figures->bytes >> 10U);
    }
    return {};
}

// A machine of checkpoint.S that was kicked a while after its power-on, and can record.
Result<void> run_until_kicked(KvmMachine& machine) {
    const std::array bytes{std::byte{kPlain}, std::byte{kManyTurns}};
    machine.apply(replay::input::ConsoleBytes{bytes});
    FTVMM_ASSIGN(const RunLimit limit, RunLimit::start(std::chrono::milliseconds(20)));
    while (true) {
        FTVMM_ASSIGN(const auto stop, machine.run());
        (void)machine.take_outputs();
        if (std::holds_alternative<replay::stop::Kicked>(stop)) return {};
    }
}

// What is no checkpoint is refused, and the machine is none the worse for it.
Result<void> refuse(const kvm::System& system) {
    FTVMM_ASSIGN(const auto primary, power_on(system));
    FTVMM_TRY(primary->track_dirty_pages());
    FTVMM_TRY(run_until_kicked(*primary));
    FTVMM_ASSIGN(const auto state, primary->take_checkpoint());
    FTVMM_ASSIGN(const Place place, checkpoint_place(*primary));

    FTVMM_ASSIGN(const auto follower, power_on(system));
    const std::array bytes{std::byte{kPlain}, std::byte{kManyTurns}};
    follower->apply(replay::input::ConsoleBytes{bytes});
    while (follower->landmark().exits < primary->landmark().exits) {
        FTVMM_TRY(follower->run());
        (void)follower->take_outputs();
    }
    if (follower->take_checkpoint())
        return fail("a machine that tracks no pages took a checkpoint");
    const std::uint64_t before = follower->memory_hash();
    if (follower->load_checkpoint(std::span(state).first(state.size() / 2))) {
        return fail("half a checkpoint was loaded");
    }
    if (follower->memory_hash() != before) return fail("a refused checkpoint left something");
    FTVMM_TRY(follower->load_checkpoint(state));
    if (follower->landmark() != primary->landmark()) return fail("it led to another landmark");
    return compare(*follower, place);
}

}  // namespace

Result<void> can_track_pages(const kvm::System& system) {
    FTVMM_ASSIGN(const auto machine, power_on(system));
    return machine->track_dirty_pages();
}

Result<void> test_checkpoint_plain(const kvm::System& system) {
    FTVMM_TRY(refuse(system));
    constexpr std::array kWork{kPlain, kTablesOnly};
    return live_often(system, kWork);
}

Result<void> test_checkpoint(const kvm::System& system) {
    constexpr std::array kWork{kSse | kInterrupts, kSse | kInterrupts | kFaults,
                               kInterrupts | kTablesOnly, kInterrupts | kTablesOnly | kFaults};
    return live_often(system, kWork);
}

}  // namespace ftvmm::guests
