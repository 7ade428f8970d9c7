// A whole guest in a few hundred lines, for tests and simulations of record and replay: no KVM, no
// clock, no thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "replay/guest_machine.h"
#include "replay/record.h"

namespace ftvmm::replay::testing {

// What is wrong with a machine on purpose, so that tests show who notices.
struct ToyFault {
    enum class Kind : std::uint8_t {
        kNone,
        kForgetsInput,   // Input `nth` never reaches the guest.
        kInputLate,      // Input `nth` reaches it one exit late.
        kHostClock,      // From exit `nth` on it sees `host_clock`: what no log holds.
        kForgetsOutput,  // Output `nth` does not leave.
        kSkipsStop,      // It does not stop at exit `nth` but runs on to the next.
        kHangs,          // From exit `nth` on it computes until it is kicked.
        kForgetsMemory,  // load_checkpoint() leaves the memory as it was, from the `nth` on.
        kCrashes,        // The host gives up at exit `nth`, or at the next where it can.
    };
    Kind kind = Kind::kNone;
    std::uint64_t nth = 0;  // From 1, since this machine was made.
    std::uint64_t host_clock = 0;
};

struct ToyOptions {
    // How many exits a life has on average until the guest ends it.
    std::uint32_t mean_life = 2000;
    // And how many it has at least.
    std::uint64_t least_life = 0;
    // The guest sees the time as it computes, as shows_time() has it.
    bool shows_time = false;
    ToyFault fault;
};

// A processor with eight registers and 512 bytes of memory computes from its seed. A step changes
// both; now and then it exits: to print, to send a packet, to ask a disk or for entropy, to read a
// clock or set a timer, to halt, to end its life. Inputs go to its devices: they write to memory at
// once, as DMA does, raise an interrupt, which is taken when the guest lets it, and show in what
// every later exit reads. So whatever reaches the guest, in whatever order and at whichever
// landmark, changes its digest from the next exit on, and for good.
//
// Stretches without an exit are short, and now and then thousands of steps long.
//
// It keeps GuestMachine's contract, kick() from any thread or signal handler included.
class ToyMachine final : public GuestMachine {
  public:
    explicit ToyMachine(std::span<const std::byte> rng_seed, const ToyOptions& options = {});

    // A kick in a simulation: once the guest has computed for so many steps more.
    void kick_after(std::uint64_t steps) { steps_to_kick_ = steps; }
    // Steps since power-on, those left out by load_checkpoint() not counted: what it costs to run.
    [[nodiscard]] std::uint64_t steps() const { return steps_; }
    [[nodiscard]] GuestTime now() const { return now_; }

    [[nodiscard]] Result<Stop> run() override;
    [[nodiscard]] Landmark landmark() const override { return landmark_; }
    void apply(const Input& input) override;
    [[nodiscard]] std::vector<Output> take_outputs() override;
    [[nodiscard]] std::uint64_t digest() const override { return digest_; }
    [[nodiscard]] std::uint64_t memory_hash() const override;
    [[nodiscard]] Result<std::vector<std::byte>> take_checkpoint() override;
    [[nodiscard]] Result<void> load_checkpoint(std::span<const std::byte> state) override;
    [[nodiscard]] std::optional<GuestTime> next_deadline() const override { return deadline_; }
    [[nodiscard]] bool shows_time() const override { return options_.shows_time; }
    [[nodiscard]] bool wants_packets(std::uint32_t nic) const override;
    [[nodiscard]] bool wants_console_bytes(ConsolePort port) const override;
    // Its own eight, the rest zero.
    [[nodiscard]] std::optional<CpuRegisters> registers() const override;
    [[nodiscard]] std::optional<ExitFacts> last_exit() const override;
    void kick() override { kicked_ = true; }
    void clear_kick() override { kicked_ = false; }

  private:
    // The processor: what a checkpoint holds, with the memory.
    struct Cpu {
        std::array<std::uint64_t, 8> registers{};
        std::uint64_t stretch = 1;         // Steps to the next exit, at least one.
        std::uint64_t lets_interrupt = 0;  // A flag.
    };
    static constexpr std::size_t kWords = 64;

    // Whether the guest runs: not while it is halted and nothing wakes it.
    [[nodiscard]] bool enter();
    void compute_step();
    [[nodiscard]] bool is_kicked();
    [[nodiscard]] Stop exit();
    [[nodiscard]] Stop ask_for(std::uint64_t what);
    [[nodiscard]] Stop put_out(std::uint64_t what);
    [[nodiscard]] Stop end_life(std::uint64_t what);
    [[nodiscard]] Stop finish_clock_read();
    void begin_exit(std::uint64_t kind);
    void take_input(const Input& input);
    void put(Output output);
    [[nodiscard]] std::vector<std::byte> some_bytes(std::size_t count);
    [[nodiscard]] std::uint64_t draw();
    [[nodiscard]] bool is_fault(ToyFault::Kind kind, std::uint64_t nth) const {
        return options_.fault.kind == kind && options_.fault.nth == nth;
    }
    [[nodiscard]] bool is_faulty_from(ToyFault::Kind kind) const {
        return options_.fault.kind == kind && landmark_.exits >= options_.fault.nth;
    }

    ToyOptions options_;
    Cpu cpu_;
    std::array<std::uint64_t, kWords> memory_{};

    // The devices. They change at exits and by inputs, so no checkpoint holds them.
    std::uint64_t inbox_ = 0;    // A hash over every input.
    std::uint64_t pending_ = 0;  // Interrupts that wait, a bit for each kind of input.
    bool wants_window_ = false;  // An exit as soon as the guest lets an interrupt.
    bool halted_ = false;
    bool reads_clock_ = false;  // An access waits for the time.
    GuestTime now_{};
    std::optional<GuestTime> deadline_;
    std::array<std::uint32_t, 2> waiting_frames_{};
    std::array<std::uint32_t, 2> waiting_console_{};
    std::uint64_t next_request_ = 0;
    std::vector<Output> outputs_;

    Landmark landmark_;
    std::uint64_t digest_ = 0;
    std::uint64_t last_kind_ = 0;  // Of the last exit.
    bool entered_ = false;         // Since the last landmark.
    std::uint64_t inputs_ = 0;
    std::uint64_t outputs_made_ = 0;
    std::uint64_t loads_ = 0;
    std::uint64_t steps_ = 0;
    std::optional<Body> late_;
    std::optional<std::uint64_t> steps_to_kick_;
    std::atomic<bool> kicked_{false};
};

// All that an output consists of, as a number.
[[nodiscard]] std::uint64_t hash_of(const Output& output);

}  // namespace ftvmm::replay::testing
