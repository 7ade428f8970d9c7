// The machine as record and replay see it: a guest that goes from landmark to landmark, inputs in,
// outputs out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "replay/cpu_registers.h"
#include "replay/exit_facts.h"
#include "replay/input.h"
#include "replay/landmark.h"
#include "replay/output.h"

namespace ftvmm::replay {

// Why run() came back.
namespace stop {

// The guest exited and what it asked for is done. A landmark.
struct Exit {};
// The guest reads or sets a clock: apply input::Time, then run on. A landmark.
struct NeedsTime {};
// The guest waits for an interrupt, and none is pending: run() makes no progress until an input
// brings one. A landmark.
struct Halted {};
// kick() ended the run. Not a landmark: an input applied here is applied at no point that a replay
// could find.
struct Kicked {};
// The ends of this power-on. A reset that nobody asked for is a triple fault's.
struct PoweredOff {};
struct Reset {
    bool triple_fault = false;
};
// The host's processor or KVM can not go on; `why` is one sentence.
struct Crashed {
    std::string why;
};

}  // namespace stop

using Stop = std::variant<stop::Exit, stop::NeedsTime, stop::Halted, stop::Kicked, stop::PoweredOff,
                          stop::Reset, stop::Crashed>;

// A function of its inputs and of the landmarks at which they were applied, and of nothing else.
// One thread, but for kick().
//
// Every stop but Kicked has a landmark of its own, one exit behind the one before: an access that
// waited for the time counts twice, when it asks and when it is done, so that of two inputs at one
// landmark nobody need know which came before the access. Halted is repeated for as long as no
// input wakes the guest; that changes nothing.
class GuestMachine {
  public:
    GuestMachine() = default;
    GuestMachine(const GuestMachine&) = delete;
    GuestMachine& operator=(const GuestMachine&) = delete;
    virtual ~GuestMachine() = default;

    // Runs the guest to its next stop. Not after one of the three ends.
    [[nodiscard]] virtual Result<Stop> run() = 0;
    // Where the guest is, as of the last stop.
    [[nodiscard]] virtual Landmark landmark() const = 0;
    // Gives the guest an input, between two runs.
    virtual void apply(const Input& input) = 0;
    // What left the guest since the last call, in order. Whoever counts outputs takes them at every
    // landmark before the guest runs on: what is left may be joined with what follows.
    [[nodiscard]] virtual std::vector<Output> take_outputs() = 0;
    // A hash over every exit so far: its reason, its data, the registers, and what the guest was
    // given since the exit before. Nothing but an exit changes it.
    [[nodiscard]] virtual std::uint64_t digest() const = 0;
    // A hash of all the guest's memory. As slow as that.
    [[nodiscard]] virtual std::uint64_t memory_hash() const = 0;

    // Makes a landmark where the guest stands, which may be between two exits, and gives what takes
    // another machine there from the landmark before: one checkpoint more, the same digest. All
    // outputs were taken. Its bytes are the machine's own affair.
    [[nodiscard]] virtual Result<std::vector<std::byte>> take_checkpoint() = 0;
    // Takes this machine to where `state` was taken, instead of a run. It stands at the landmark
    // before and has the same inputs. An error: these bytes are no such state.
    [[nodiscard]] virtual Result<void> load_checkpoint(std::span<const std::byte> state) = 0;

    // When the next timer is due: input::Time of then or later makes it expire.
    [[nodiscard]] virtual std::optional<GuestTime> next_deadline() const = 0;
    // Whether the guest may look at its clock without an exit: what it sees then is the last
    // input::Time, so it wants one before each run.
    [[nodiscard]] virtual bool shows_time() const = 0;
    // Whether the guest has room for another packet on card `nic`, or for bytes on a
    // console. What is given beyond that waits in the machine, which is where its memory would go.
    [[nodiscard]] virtual bool wants_packets(std::uint32_t nic) const = 0;
    [[nodiscard]] virtual bool wants_console_bytes(ConsolePort port) const = 0;

    // For people: the processor's registers as of the last stop, and the code around the place
    // where it stands, an instruction a line. Nothing where a machine does not tell.
    [[nodiscard]] virtual std::optional<CpuRegisters> registers() const { return std::nullopt; }
    [[nodiscard]] virtual std::vector<std::string> code() const { return {}; }
    // For a log that traces exits: the last one, asked for at its landmark before anything else.
    [[nodiscard]] virtual std::optional<ExitFacts> last_exit() const { return std::nullopt; }

    // Ends the run() under way, and every later one at once until clear_kick(). From a signal
    // handler of the thread that runs; the signal is what ends a run() under way.
    virtual void kick() = 0;
    virtual void clear_kick() = 0;
};

}  // namespace ftvmm::replay
