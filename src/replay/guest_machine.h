// The machine as record and replay see it: a guest that goes from landmark to landmark, inputs in,
// outputs out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
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
    // What left the guest since the last call, in order.
    [[nodiscard]] virtual std::vector<Output> take_outputs() = 0;
    // A hash over every exit so far: its reason, its data and the registers.
    [[nodiscard]] virtual std::uint64_t digest() const = 0;

    // When the next timer is due: input::Time of then or later makes it expire.
    [[nodiscard]] virtual std::optional<GuestTime> next_deadline() const = 0;
    // Whether the guest may look at its clock without an exit: what it sees then is the last
    // input::Time, so it wants one before each run.
    [[nodiscard]] virtual bool shows_time() const = 0;
    // Whether the guest has room for another packet on card `nic`, or for bytes on a
    // console. What is given beyond that waits in the machine, which is where its memory would go.
    [[nodiscard]] virtual bool wants_packets(std::uint32_t nic) const = 0;
    [[nodiscard]] virtual bool wants_console_bytes(ConsolePort port) const = 0;

    // Ends the run() under way, and every later one at once until clear_kick(). From a signal
    // handler of the thread that runs; the signal is what ends a run() under way.
    virtual void kick() = 0;
    virtual void clear_kick() = 0;
};

}  // namespace ftvmm::replay
