// Lives of toy guests, recorded and replayed, each from a seed alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "toy_machine.h"

namespace ftvmm::replay::testing {

struct RecordingOptions {
    ToyOptions toy;
    std::uint64_t most_exits = 300;  // Then the user takes the power.
    std::uint64_t seed_kicks = 4;    // One run in so many is kicked; 0: none.
    bool marks_outputs = true;
    bool audits = true;
    bool traces = false;
};

struct Recording {
    std::vector<ClosedBatch> batches;
    std::vector<std::uint64_t> outputs;  // hash_of() each, over all lives.
    record::End end;                     // Of the last life.
    // At that end; nothing where the power was taken between two landmarks.
    std::optional<std::uint64_t> memory_hash;
    std::uint64_t steps = 0;  // That the guests have computed.
    LogStatistics statistics;
};

// The outside world of one toy guest after another, as the seed has it: it answers requests late
// and in any order, sends packets, types, lets time pass, kicks, makes checkpoints and resets.
class ToyWorld {
  public:
    ToyWorld(std::uint64_t seed, const RecordingOptions& options);

    // One stop of the guest, and what is done about it. False: that was the end of all.
    [[nodiscard]] bool step();
    [[nodiscard]] Recorder& recorder() { return recorder_; }
    [[nodiscard]] const ToyMachine& machine() const { return *machine_; }
    // All of it, once it has ended; batches that were not taken before.
    [[nodiscard]] Recording finish();

  private:
    void power_on();
    void end(record::EndKind kind);
    void give(const Input& input);
    void give_time(std::uint64_t most_ns);
    void give_anything();
    void give_random_inputs();
    bool answer();
    void trace();
    void take_outputs();
    [[nodiscard]] bool handle(const Stop& stop);
    [[nodiscard]] std::vector<std::byte> some_bytes(std::uint64_t most);

    RecordingOptions options_;
    SeededEntropy random_;
    Recorder recorder_;
    std::unique_ptr<ToyMachine> machine_;
    std::vector<output::DiskRequest> disk_requests_;
    std::vector<output::EntropyRequest> entropy_requests_;
    std::uint64_t exits_ = 0;  // Of the lives before.
    bool at_landmark_ = true;
    std::uint64_t traced_ = 0;  // Exits of this life.
    Recording recording_;
};

[[nodiscard]] Recording record_toy(std::uint64_t seed, const RecordingOptions& options = {});

// What a log says, through make_batch(), BatchPacker and decode_batch().
[[nodiscard]] std::vector<Batch> decode(std::span<const ClosedBatch> batches);
[[nodiscard]] std::vector<Record> records_of(std::span<const Batch> batches);

struct Replayed {
    std::vector<std::uint64_t> outputs;
    std::optional<record::End> end;
    std::optional<Divergence> divergence;
    bool is_hung = false;
    std::uint64_t memory_hash = 0;  // At the last end.
    std::uint64_t steps = 0;
    Seq next;
};

// Replays all of it on machines of `options`, until the log ends, the replay diverges or hangs.
[[nodiscard]] Replayed replay_toy(std::span<const Batch> batches, const ToyOptions& options = {},
                                  const ReplayOptions& replay = {});

}  // namespace ftvmm::replay::testing
