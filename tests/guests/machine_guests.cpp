#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "flat_kernel.h"
#include "guest_test.h"
#include "images.h"
#include "vmm/machine/save_restore.h"

namespace ftvmm::guests {

namespace {

using machine::KvmMachine;
using machine::MachineConfig;

constexpr std::uint64_t kScratch = 0x400000;  // guest.inc's.
constexpr std::uint64_t kScratchBytes = 0x3000;
// Many times what the guest takes: one that has lost an interrupt waits for ever.
constexpr std::size_t kMostStops = 2000;
constexpr std::uint64_t kMemoryBytes = std::uint64_t{16} << 20U;

// A machine and the world that it is in: time passes as it is asked for.
struct Run {
    std::unique_ptr<KvmMachine> machine;
    std::vector<std::byte> printed;
    GuestTime now;
    std::size_t stops = 0;
    std::vector<std::size_t> interrupts;  // The stops after which the guest takes one.
    bool is_off = false;

    // Does what `stop` asks for.
    Result<void> answer(const replay::Stop& stop) {
        using namespace replay::stop;
        ++stops;
        if (const auto* crash = std::get_if<Crashed>(&stop)) return fail(crash->why);
        if (std::holds_alternative<Reset>(stop)) return fail("the guest was reset");
        if (std::holds_alternative<NeedsTime>(stop)) now += std::chrono::microseconds(3);
        if (std::holds_alternative<Halted>(stop)) {
            const auto due = machine->next_deadline();
            if (!due) return fail("the guest waits for nothing");
            now = std::max(now, *due);
            interrupts.push_back(stops);
        }
        const bool takes_time =
            std::holds_alternative<NeedsTime>(stop) || std::holds_alternative<Halted>(stop);
        if (takes_time) machine->apply(replay::input::Time{now});
        is_off = std::holds_alternative<PoweredOff>(stop);
        return take_outputs();
    }
    Result<void> take_outputs() {
        for (const auto& output : machine->take_outputs()) {
            const auto* bytes = std::get_if<replay::output::ConsoleBytes>(&output);
            if (bytes == nullptr) return fail("an output that this guest has no way to ask for");
            printed.insert(printed.end(), bytes->bytes.begin(), bytes->bytes.end());
        }
        return {};
    }
    Result<void> run_to_stop(std::size_t last) {
        while (!is_off && stops < last) {
            if (stops == kMostStops) return fail("it goes on and on");
            FTVMM_ASSIGN(const auto stop, machine->run());
            FTVMM_TRY(answer(stop));
        }
        return {};
    }
    // Goes as far as an interrupt can be handed to KVM, and no further.
    Result<void> inject() {
        machine->kick();
        auto stop = machine->run();
        machine->clear_kick();
        if (!stop) return Failure(stop.error());
        if (std::holds_alternative<replay::stop::Kicked>(*stop)) return {};
        return fail("a machine that was kicked ran on");
    }
    Result<void> complete() {
        while (true) {
            FTVMM_ASSIGN(const auto stop, machine->complete());
            if (std::holds_alternative<replay::stop::Kicked>(stop)) return {};
            FTVMM_TRY(answer(stop));
        }
    }
};

Result<Run> power_on(const kvm::System& system, const MachineConfig& config) {
    const auto kernel = make_kernel(images::saved_machine());
    FTVMM_ASSIGN(
        auto machine,
        KvmMachine::power_on(system, config,
                             {.kernel = kernel, .initrd = {}, .command_line = "", .rng_seed = {}}));
    Run run;
    run.machine = std::move(machine);
    return run;
}

// All that two runs must agree on, in words for people where they do not.
Result<void> compare(Run& run, Run& wanted) {
    const KvmMachine& is = *run.machine;
    const KvmMachine& was = *wanted.machine;
    if (is.landmark() != was.landmark()) return fail("it ends at another landmark");
    if (is.digest() != was.digest()) return fail("its exits differ");
    if (is.now() != was.now()) return fail("its clock differs");
    if (run.printed != wanted.printed) return fail("it printed something else");
    const auto scratch = [](const KvmMachine& it) {
        return it.memory().find(Gpa(kScratch), kScratchBytes);
    };
    if (!std::ranges::equal(scratch(is), scratch(was))) return fail("its memory differs");
    FTVMM_TRY(run.complete());
    FTVMM_TRY(wanted.complete());
    FTVMM_ASSIGN(const auto state, is.state());
    FTVMM_ASSIGN(const auto wanted_state, was.state());
    if (state.platform != wanted_state.platform) return fail("a device differs");
    if (state.cpu.msrs != wanted_state.cpu.msrs) return fail("an MSR differs");
    if (std::memcmp(&state.cpu.regs, &wanted_state.cpu.regs, sizeof state.cpu.regs) != 0) {
        return fail("a register differs");
    }
    return {};
}

// Saves a machine at its stop number `stop`, with or without an interrupt on its way, and lets both
// it and its copy go on to the end.
Result<void> save_at(const kvm::System& system, const MachineConfig& config, std::size_t stop,
                     bool injects, const std::string& path, Run& wanted) {
    FTVMM_ASSIGN(Run saved, power_on(system, config));
    FTVMM_TRY(saved.run_to_stop(stop));
    if (injects) FTVMM_TRY(saved.inject());
    FTVMM_TRY(saved.complete());
    FTVMM_TRY(machine::save_machine(*saved.machine, path, "a test"));
    Run restored;
    FTVMM_ASSIGN(restored.machine, machine::restore_machine(system, config, path, "a test"));
    if (restored.machine->landmark() != saved.machine->landmark() ||
        restored.machine->digest() != saved.machine->digest()) {
        return fail("the restored machine stands elsewhere than the saved one");
    }
    restored.printed = saved.printed;
    restored.now = restored.machine->now();
    restored.stops = saved.stops;
    restored.is_off = saved.is_off;
    for (Run* run : {&restored, &saved}) {
        FTVMM_TRY(run->run_to_stop(SIZE_MAX));
        if (const auto same = compare(*run, wanted); !same) {
            const char* who = run == &saved ? "after it was saved" : "restored";
            return Failure(same.error().with_context(who));
        }
    }
    return {};
}

class TemporaryFile {
  public:
    TemporaryFile() : path_(std::filesystem::temp_directory_path() / name()) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { std::filesystem::remove(path_); }
    [[nodiscard]] std::string path() const { return path_.string(); }

  private:
    static std::string name() { return fmt::format("ftvmm-saved-{}.state", ::getpid()); }
    std::filesystem::path path_;
};

}  // namespace

Result<void> can_power_on(const kvm::System& system) {
    FTVMM_TRY(power_on(system, {.memory_bytes = kMemoryBytes, .virtio = {}}));
    return {};
}

Result<void> test_saved_machine(const kvm::System& system) {
    const MachineConfig config{.memory_bytes = kMemoryBytes, .virtio = {}};
    const TemporaryFile file;
    FTVMM_ASSIGN(Run wanted, power_on(system, config));
    FTVMM_TRY(wanted.run_to_stop(SIZE_MAX));
    for (std::size_t stop = 0; stop < wanted.stops; ++stop) {
        if (const auto done = save_at(system, config, stop, false, file.path(), wanted); !done) {
            return Failure(done.error().with_context(
                fmt::format("saved at stop {} of {}", stop, wanted.stops)));
        }
    }
    for (const std::size_t stop : wanted.interrupts) {
        if (const auto done = save_at(system, config, stop, true, file.path(), wanted); !done) {
            return Failure(done.error().with_context("saved with an interrupt on its way"));
        }
    }
    if (wanted.interrupts.empty()) return fail("the guest never took an interrupt");
    fmt::print("saved at each of {} stops\n", wanted.stops);
    return {};
}

}  // namespace ftvmm::guests
