// The Primary's guest and the world around it, as a seed has it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "ftlink/flow_control.h"
#include "judge.h"
#include "plan.h"
#include "replay/recorder.h"
#include "toy_machine.h"

namespace ftvmm::sim {

// What the vCPU thread does, a stop at a time.
class Guest {
  public:
    struct Made {
        replay::Seq mark;  // What the gate is told.
        replay::Output output;
    };

    Guest(const Plan& plan, Judge& judge);

    // Runs to the next stop and records it; the outputs of it. `now` is true time, `host` the
    // clock's.
    [[nodiscard]] std::vector<Made> step(Instant now, Instant host);
    [[nodiscard]] std::vector<replay::ClosedBatch> take_batches() {
        return recorder_.take_batches();
    }
    // Its user takes the power; for good.
    void stop(Instant now);
    // Something that it asked for was released, and is done.
    void answer(const replay::Output& request) { answers_.push_back(request); }

    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] bool is_halted() const { return is_halted_; }
    [[nodiscard]] replay::Seq next() const { return recorder_.next(); }
    [[nodiscard]] std::uint64_t memory_hash() const { return machine_->memory_hash(); }

  private:
    void power_on(Instant host);
    void end(replay::record::EndKind kind, Instant now);
    void give(const replay::Input& input);
    void give_time();
    void give_anything();
    void give_answer();
    void take_outputs(Instant now);
    void handle(const replay::Stop& stop, Instant now);
    void handle_kick();
    [[nodiscard]] std::vector<std::byte> some_bytes(std::uint64_t most);

    const Plan& plan_;
    Judge& judge_;
    SeededEntropy random_;
    replay::Recorder recorder_;
    ftlink::FlushPolicy flush_;
    std::unique_ptr<replay::testing::ToyMachine> machine_;
    std::vector<replay::Output> answers_;
    std::vector<Made> made_;
    replay::Seq last_input_;
    std::uint64_t lives_ = 0;
    std::uint64_t exits_ = 0;  // Of the lives before.
    Instant host_{};           // Now,
    Instant powered_on_at_{};  // and at the last power-on.
    bool at_landmark_ = true;
    bool is_halted_ = false;
    bool has_ended_ = false;
};

}  // namespace ftvmm::sim
