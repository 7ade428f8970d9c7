// A replay as a debugger's target: forwards by running it, backwards by running it again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "debug/target.h"
#include "node/replay_cursor.h"
#include "node/watch_set.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::node {

// A place in a replay between two instructions, as the way to it: to a landmark of a life, then so
// many steps, or to an address for the so manyeth time. The replay being what it is, the same way
// leads to the same place.
struct ReplayPlace {
    struct Leg {
        std::optional<std::uint64_t> address;  // None: steps.
        std::uint64_t count = 0;
        bool operator==(const Leg&) const = default;
    };
    std::uint64_t life = 0;
    replay::Landmark landmark;
    std::vector<Leg> legs;  // None: at the landmark itself, maybe within an instruction.
    bool operator==(const ReplayPlace&) const = default;
};

struct DebugSource {
    std::function<Result<replay::LogReader>()> open;
    std::function<Result<std::unique_ptr<machine::KvmMachine>>(std::span<const std::byte>)> make;
    ReplayRun options;
    // Whether somebody wishes to look at the guest where it is.
    std::function<bool()> is_interrupted;
};

// The calling thread is the vCPU's. Each way back is run from the log's beginning, a search
// backwards twice.
class DebugReplay final : public debug::Target {
  public:
    // Stands before the first instruction. An error: there is none, or as run_replay()'s.
    static Result<std::unique_ptr<DebugReplay>> begin(DebugSource source);
    explicit DebugReplay(DebugSource source);
    DebugReplay(const DebugReplay&) = delete;
    DebugReplay& operator=(const DebugReplay&) = delete;
    ~DebugReplay() override;

    // How the replay ended, if it ever came there; how it diverged, if it ever did.
    [[nodiscard]] const std::optional<ReplayCursor::How>& end() const { return end_; }

    [[nodiscard]] Result<debug::Registers> registers() override;
    [[nodiscard]] std::size_t read_memory(std::uint64_t address,
                                          std::span<std::byte> bytes) override;
    [[nodiscard]] Result<debug::Stopped> move(debug::Move move) override;
    void add_breakpoint(std::uint64_t address) override { breakpoints_.push_back(address); }
    void remove_breakpoint(std::uint64_t address) override { std::erase(breakpoints_, address); }
    void add_watch(const debug::Watch& watch) override { watches_.add(watch); }
    void remove_watch(const debug::Watch& watch) override { watches_.remove(watch); }

  private:
    using Place = ReplayPlace;
    enum class Came : std::uint8_t { kToLandmark, kToStop, kToEnd, kNowhere };
    // The last on the way that was searched.
    struct Found {
        Place place;  // Of a breakpoint, or where a change was seen,
        Place from;   // and the place before, where it was not.
        std::optional<std::uint64_t> watch;
    };
    // What is called at each place between two instructions that is stepped to.
    using Look = std::function<void()>;

    [[nodiscard]] static Error no_such_place();
    [[nodiscard]] Result<void> rewind();
    [[nodiscard]] Result<Came> advance(machine::KvmMachine::DebugStops stops);
    [[nodiscard]] Result<Came> advance_step();
    void note_step();
    void note_arrival();
    // One instruction on. False: the replay has ended before.
    [[nodiscard]] Result<bool> step();
    [[nodiscard]] Result<void> go_to(const Place& place);
    [[nodiscard]] Result<void> follow(const ReplayPlace::Leg& leg);
    [[nodiscard]] std::uint64_t rip() const;
    [[nodiscard]] bool is_at_breakpoint() const;
    [[nodiscard]] std::optional<std::uint64_t> changed();
    [[nodiscard]] Result<debug::Stopped> go_on();
    [[nodiscard]] Result<debug::Stopped> step_to_change(const Place& from);

    // debug_replay_back.cpp
    [[nodiscard]] Result<std::uint64_t> step_to(const Place& place, const Look& look);
    [[nodiscard]] Result<std::optional<Place>> step_to_landmark(const Place& from, const Place& end,
                                                                const Look& look);
    [[nodiscard]] Result<std::optional<Place>> before(const Place& place);
    [[nodiscard]] Result<std::optional<Place>> before_landmark(const Place& landmark);
    [[nodiscard]] Result<debug::Stopped> step_back();
    [[nodiscard]] Result<debug::Stopped> go_back();
    [[nodiscard]] Result<bool> search_to(const Place& end);
    [[nodiscard]] Result<void> search_leg(const ReplayPlace::Leg& leg, bool is_last);
    void note_change(const Place& from);
    [[nodiscard]] Result<debug::Stopped> stop_at(const std::optional<Place>& place,
                                                 const debug::Stopped& why);
    [[nodiscard]] Result<std::optional<Place>> before_change(const Found& found);

    DebugSource source_;
    MakeMachine make_;
    std::unique_ptr<replay::LogReader> log_;
    std::unique_ptr<ReplayCursor> cursor_;
    machine::KvmMachine* machine_ = nullptr;  // The cursor's.
    std::optional<ReplayCursor::How> end_;
    Place at_;
    // The way up to where at_ last was stepped to, and how often each address was come to since.
    std::vector<ReplayPlace::Leg> stepped_legs_;
    std::map<std::uint64_t, std::uint64_t> arrivals_;
    std::vector<std::uint64_t> breakpoints_;
    WatchSet watches_;
    std::optional<Found> found_;
};

}  // namespace ftvmm::node
