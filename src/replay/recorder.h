// Writes down what happens to a guest, so that it can happen again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "replay/guest_machine.h"
#include "replay/log_statistics.h"
#include "replay/record.h"
#include "replay/record_codec.h"

namespace ftvmm::replay {

// A batch that is done, uncompressed: BatchPacker::pack() may make it smaller, on any thread.
struct ClosedBatch {
    Seq first;
    Seq last;
    std::vector<std::byte> bytes;  // make_batch_to_pack()'s: a large one must be packed.
};

// The thread that runs the guest calls it, in between two runs and only at a landmark: behind a run
// that a kick has ended, only flush() and end() may come before checkpoint() or another run. Pure:
// it keeps what it is told until take_batches(). Each call returns the number of the record that it
// made.
//
// How one stop of the guest is recorded, when nothing goes wrong:
//
//   run() -> take_outputs(), output_mark() for each -> per input: record(), apply()
//         -> take_outputs(), output_mark() for each -> run()
class Recorder {
  public:
    // `first` is the number of its first record. `outputs` is how many outputs the guest had made
    // since its power-on, where the log begins in the middle of a life.
    explicit Recorder(Seq first = Seq(0), std::uint64_t outputs = 0)
        : next_(first), outputs_(outputs) {}

    // `machine` begins a life: it was given `rng_seed` and no input yet.
    Seq power_on(const GuestMachine& machine, std::span<const std::byte> rng_seed);
    // `input` is applied next.
    Seq record(const GuestMachine& machine, const Input& input);
    // The next output left the guest here, in take_outputs()'s order; each has its own.
    Seq output_mark(const GuestMachine& machine);
    // Has the machine make a landmark where it stands. An error: it can not, or its state is more
    // than a log takes; either way nothing can be recorded from here on.
    [[nodiscard]] Result<Seq> checkpoint(GuestMachine& machine);
    // The last exit of the guest, of a log that traces them: behind the run that led to it, before
    // anything else is recorded there.
    Seq trace(const GuestMachine& machine, const ExitFacts& exit);
    // Hashes all the guest's memory.
    Seq audit(const GuestMachine& machine);
    // Nothing more happens in this life; the batch is closed.
    Seq end(const GuestMachine& machine, record::EndKind kind);

    // Closes the open batch, with a mark that lets a follower come as far as the guest is now.
    // Nothing happens where the last record says that already.
    void flush(const GuestMachine& machine);
    // What was closed since the last call, in order.
    [[nodiscard]] std::vector<ClosedBatch> take_batches();

    // Whether something was recorded that is in no closed batch.
    [[nodiscard]] bool has_open() const { return encoder_.size() > 0; }
    // The bytes of the closed batches that wait to be taken: the guest has to stand still when
    // nobody takes them.
    [[nodiscard]] std::size_t closed_bytes() const { return closed_bytes_; }
    // The number that the next record will have.
    [[nodiscard]] Seq next() const { return next_; }
    // Outputs since power-on.
    [[nodiscard]] std::uint64_t outputs() const { return outputs_; }
    [[nodiscard]] const LogStatistics& statistics() const { return statistics_; }

  private:
    struct Place {
        Landmark at;
        std::uint64_t digest = 0;
    };
    static Place place_of(const GuestMachine& machine);

    Seq add(const Place& place, Body body);
    // Closes the open batch if it has no room for a record with so many bytes in it.
    void make_room(const Place& place, std::size_t blob_bytes);
    Seq added(std::size_t kind, std::size_t bytes);
    Seq count(std::size_t kind, std::size_t bytes);
    void mark(const Place& place);
    void close();

    RecordEncoder encoder_;
    std::size_t open_records_ = 0;
    Seq next_;
    std::uint64_t outputs_;
    std::optional<Landmark> marked_;  // Where the last record lies, if it is a mark or an end.
    std::vector<ClosedBatch> closed_;
    std::size_t closed_bytes_ = 0;
    LogStatistics statistics_;
};

}  // namespace ftvmm::replay
