// Makes happen again what a log says, and holds it against the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "replay/divergence.h"
#include "replay/guest_machine.h"
#include "replay/record.h"

namespace ftvmm::replay {

// What Replayer::step() came to.
namespace step {

// One landmark further: go on.
struct Progress {};
// Nothing more is known: feed() the next batch. The guest stands at the last record's landmark, and
// all that the log holds was done.
struct NeedsRecords {};
// A life begins: make its machine with this seed and give it to power_on().
struct PowersOn {
    record::PowerOn record;
};
// A life ended as the log says. After a reset the log goes on with PowersOn; else this is all.
struct Ended {
    record::End end;
};
// The machine was kicked before it came to a landmark. Go on after clear_kick(), or give up: a
// guest that has diverged may never stop by itself.
struct Kicked {};
// The log and the guest do not agree. Every further step says so again.
struct Diverged {
    Divergence divergence;
};

}  // namespace step

using Step = std::variant<step::Progress, step::NeedsRecords, step::PowersOn, step::Ended,
                          step::Kicked, step::Diverged>;

struct ReplayOptions {
    Seq first{};  // The number of the first record that it is fed.
    // Outputs since power-on, where the log begins in the middle of a life.
    std::uint64_t outputs = 0;
    bool compare_audits = true;
};

// Runs a guest from landmark to landmark, giving it at each what the log holds for it. It never
// runs the guest past the last record that it knows, so it can follow a log that is being written.
// The thread that runs the guest calls it. Pure but for what the machine does.
class Replayer {
  public:
    // For a log that begins with a power-on: step() asks for the machine.
    explicit Replayer(const ReplayOptions& options = {});
    // For a log that begins in the middle of a life. `machine` stands where the log begins.
    explicit Replayer(GuestMachine& machine, const ReplayOptions& options = {});

    // What the log holds next. An error: records before it are missing. The caller feeds no more
    // than it wants to keep in memory.
    [[nodiscard]] Result<void> feed(Batch batch);
    // Records that were fed and are not done yet.
    [[nodiscard]] std::size_t pending() const { return records_.size(); }

    // Applies what the log holds for the landmark at which the guest stands, then takes the guest
    // to the next one. An error: the log is none that a Recorder writes.
    [[nodiscard]] Result<Step> step();
    // Answers PowersOn. `machine` outlives its life here; the one before is not used any more.
    void power_on(GuestMachine& machine);

    // What the guest put out since the last call, in order: the caller drops it or looks at it.
    [[nodiscard]] std::vector<Output> take_outputs();

    // The number of the next record to be done.
    [[nodiscard]] Seq next() const { return next_; }
    // Outputs of the guest since power-on.
    [[nodiscard]] std::uint64_t outputs() const { return outputs_; }
    // The last record of this life at which the guest had the log's digest.
    [[nodiscard]] const std::optional<Agreement>& agreed() const { return agreed_; }

  private:
    // What a record comes to: the end of the step, or nothing that the caller hears of.
    using Outcome = std::optional<Step>;
    // What the guest can not do without before it runs on.
    enum class Lacks : std::uint8_t { kNothing, kTime, kInput };

    [[nodiscard]] Result<Outcome> do_due_records();
    [[nodiscard]] Outcome do_record(const Record& record);
    [[nodiscard]] Outcome do_input(const Input& input);
    [[nodiscard]] Outcome do_output_mark(const record::OutputMark& mark);
    [[nodiscard]] Outcome do_audit(const record::Audit& audit);
    [[nodiscard]] Outcome do_trace(const record::Trace& trace);
    [[nodiscard]] Outcome do_end(const record::End& end);
    [[nodiscard]] Outcome check_digest(const Record& record) const;
    [[nodiscard]] Step advance();
    [[nodiscard]] Step load(const Record& record);
    [[nodiscard]] Outcome check_may_run() const;
    [[nodiscard]] Step run(const Record& next);
    void note(const Stop& stop);
    void begin_landmark();
    void collect_outputs();
    void drop_record();
    [[nodiscard]] Step diverge(DivergenceKind kind, std::string guest_did) const;

    ReplayOptions options_;
    GuestMachine* machine_ = nullptr;  // None between two lives.
    bool begins_ = false;              // power_on() was called for the record in front.
    std::deque<Record> records_;
    Seq next_;  // Of the record in front.
    Lacks lacks_ = Lacks::kNothing;
    std::optional<record::EndKind> ended_;  // How the guest ended, by itself or by its host,
    std::string crash_;                     // and why it crashed.
    std::uint64_t outputs_ = 0;             // Since power-on,
    std::uint64_t outputs_before_ = 0;      // and before the guest came to this landmark.
    std::optional<Agreement> agreed_;
    std::vector<Output> taken_;
    std::optional<Step> final_;
};

}  // namespace ftvmm::replay
