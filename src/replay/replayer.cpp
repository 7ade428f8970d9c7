#include "replay/replayer.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"

namespace ftvmm::replay {

Replayer::Replayer(const ReplayOptions& options)
    : options_(options), next_(options.first), outputs_(options.outputs) {}

Replayer::Replayer(GuestMachine& machine, const ReplayOptions& options) : Replayer(options) {
    machine_ = &machine;
    begin_landmark();
}

Result<void> Replayer::feed(Batch batch) {
    const Seq wanted = next_ + records_.size();
    if (batch.first != wanted) {
        return fail(fmt::format("the log goes on with record {}, and {} is the next one",
                                batch.first.value(), wanted.value()));
    }
    records_.insert(records_.end(), std::move_iterator(batch.records.begin()),
                    std::move_iterator(batch.records.end()));
    return {};
}

void Replayer::power_on(GuestMachine& machine) {
    FTVMM_CHECK(machine_ == nullptr, "a life begins once");
    FTVMM_CHECK(!records_.empty() && std::holds_alternative<record::PowerOn>(records_.front().body),
                "a life begins where the log says");
    machine_ = &machine;
    begins_ = true;
    lacks_ = Lacks::kNothing;
    ended_.reset();
    agreed_.reset();
    outputs_ = 0;
    begin_landmark();
}

std::vector<Output> Replayer::take_outputs() {
    return std::exchange(taken_, {});
}

Result<Step> Replayer::step() {
    if (final_) return *final_;
    FTVMM_ASSIGN(auto outcome, do_due_records());
    if (!outcome) outcome = records_.empty() ? Step(step::NeedsRecords{}) : advance();
    const auto* ended = std::get_if<step::Ended>(&*outcome);
    const bool is_final = ended == nullptr ? std::holds_alternative<step::Diverged>(*outcome)
                                           : !is_reset(ended->end.kind);
    if (is_final) final_ = *outcome;
    return std::move(*outcome);
}

Result<Replayer::Outcome> Replayer::do_due_records() {
    while (!records_.empty()) {
        const Record& record = records_.front();
        const auto* on = std::get_if<record::PowerOn>(&record.body);
        if (machine_ == nullptr) {
            if (on != nullptr) return step::PowersOn{*on};
            return fail(fmt::format("record {} of the log belongs to no life of the guest: {}",
                                    next_.value(), describe(record)),
                        "replay it from the state that it begins with");
        }
        const Landmark here = machine_->landmark();
        if (on != nullptr && !std::exchange(begins_, false)) {
            return diverge(DivergenceKind::kWentOn, "the guest has not ended");
        }
        if (record.at > here) break;
        if (record.at < here) {
            return diverge(DivergenceKind::kOvershot,
                           fmt::format("the guest is at {} already", describe(here)));
        }
        if (auto outcome = do_record(record)) return outcome;
        drop_record();
    }
    if (machine_ != nullptr) collect_outputs();
    return std::nullopt;
}

Replayer::Outcome Replayer::do_record(const Record& record) {
    if (auto outcome = check_digest(record)) return outcome;
    agreed_ = {record.at, next_};
    if (const auto input = input_of(record.body)) return do_input(*input);
    return std::visit(Overloaded{
                          [&](const record::Checkpoint&) -> Outcome {
                              return diverge(DivergenceKind::kCheckpoint,
                                             "the guest stands there already");
                          },
                          [&](const record::OutputMark& mark) { return do_output_mark(mark); },
                          [&](const record::Audit& audit) { return do_audit(audit); },
                          [&](const record::End& end) { return do_end(end); },
                          [&](const record::Trace& trace) { return do_trace(trace); },
                          [](const auto&) -> Outcome { return std::nullopt; },
                      },
                      record.body);
}

Replayer::Outcome Replayer::do_input(const Input& input) {
    // To a guest that has ended nothing can be given.
    if (ended_) return check_may_run();
    const bool is_time = std::holds_alternative<input::Time>(input);
    if (lacks_ == Lacks::kInput || is_time) lacks_ = Lacks::kNothing;
    machine_->apply(input);
    return std::nullopt;
}

Replayer::Outcome Replayer::do_output_mark(const record::OutputMark& mark) {
    collect_outputs();
    if (mark.number > outputs_) {
        return diverge(DivergenceKind::kOutput,
                       fmt::format("the guest has made {} outputs until then", outputs_));
    }
    if (mark.number > outputs_before_) return std::nullopt;
    return diverge(
        DivergenceKind::kOutput,
        fmt::format("the guest had made {} outputs before it came there", outputs_before_));
}

Replayer::Outcome Replayer::do_audit(const record::Audit& audit) {
    if (!options_.compare_audits) return std::nullopt;
    const std::uint64_t is = machine_->memory_hash();
    if (is == audit.memory_hash) return std::nullopt;
    return diverge(DivergenceKind::kMemory,
                   fmt::format("the guest's memory hashes to {:016x}", is));
}

// The digest has agreed, but the few bits of it that a record holds may do so by chance.
Replayer::Outcome Replayer::do_trace(const record::Trace& trace) {
    const auto exit = machine_->last_exit();
    if (!exit || is_same_exit(*exit, trace.exit)) return std::nullopt;
    return diverge(DivergenceKind::kExit,
                   fmt::format("the guest exits there with {}, rip {:016x}, or other registers",
                               describe(*exit), exit->registers.at(kRip)));
}

Replayer::Outcome Replayer::do_end(const record::End& end) {
    const bool is_by_guest = end.kind == record::EndKind::kPoweredOff || is_reset(end.kind);
    if (is_by_guest && !ended_) return diverge(DivergenceKind::kWentOn, "the guest goes on");
    // What made the host crash need not be here.
    if (ended_ && *ended_ != end.kind) return check_may_run();
    collect_outputs();
    machine_ = nullptr;
    Step ended = step::Ended{end};
    drop_record();
    return ended;
}

// Against as much of the digest as `record` holds.
Replayer::Outcome Replayer::check_digest(const Record& record) const {
    const std::uint64_t whole = machine_->digest();
    const auto* mark = std::get_if<record::Mark>(&record.body);
    const auto* end = std::get_if<record::End>(&record.body);
    std::uint64_t said = record.digest;
    std::uint64_t is = short_digest(whole);
    if (said == is && (mark != nullptr || end != nullptr)) {
        said = mark != nullptr ? mark->digest : end->digest;
        is = whole;
    }
    if (said == is) return std::nullopt;
    return diverge(
        DivergenceKind::kDigest,
        fmt::format("the guest came there by other exits or inputs: its digest is {:x}, and the "
                    "log's {:x}",
                    is, said));
}

Step Replayer::advance() {
    const Record& next = records_.front();
    if (next.at.exits == machine_->landmark().exits) return load(next);
    if (auto outcome = check_may_run()) return std::move(*outcome);
    return run(next);
}

Step Replayer::load(const Record& record) {
    const auto* checkpoint = std::get_if<record::Checkpoint>(&record.body);
    const Landmark here = machine_->landmark();
    if (checkpoint == nullptr || record.at.checkpoints != here.checkpoints + 1) {
        return diverge(
            DivergenceKind::kCheckpoint,
            fmt::format("the guest is at {}, and no checkpoint leads from there", describe(here)));
    }
    if (ended_) return std::move(*check_may_run());
    if (auto outcome = check_digest(record)) return std::move(*outcome);
    if (const auto loaded = machine_->load_checkpoint(checkpoint->state); !loaded) {
        return diverge(DivergenceKind::kCheckpoint, loaded.error().line());
    }
    if (machine_->landmark() != record.at) {
        return diverge(DivergenceKind::kCheckpoint,
                       fmt::format("it led the guest to {}", describe(machine_->landmark())));
    }
    agreed_ = {record.at, next_};
    begin_landmark();
    drop_record();
    return step::Progress{};
}

Replayer::Outcome Replayer::check_may_run() const {
    const std::string here = describe(machine_->landmark());
    if (ended_ == record::EndKind::kCrashed) {
        return diverge(DivergenceKind::kCrashed,
                       fmt::format("the host can not run the guest on from {}: {}", here, crash_));
    }
    if (ended_) {
        return diverge(DivergenceKind::kEnded,
                       fmt::format("the guest ended at {} ({})", here, name_of(*ended_)));
    }
    if (lacks_ == Lacks::kTime) {
        return diverge(DivergenceKind::kNeedsTime,
                       fmt::format("the guest reads a clock at {}", here));
    }
    if (lacks_ == Lacks::kInput) {
        return diverge(DivergenceKind::kHalted, fmt::format("the guest waits at {}", here));
    }
    return std::nullopt;
}

Step Replayer::run(const Record& next) {
    const auto stop = machine_->run();
    if (stop && std::holds_alternative<stop::Kicked>(*stop)) return step::Kicked{};
    note(stop ? *stop : Stop(stop::Crashed{stop.error().line()}));
    const Landmark here = machine_->landmark();
    begin_landmark();
    collect_outputs();
    if (here.exits > next.at.exits) {
        return diverge(DivergenceKind::kOvershot,
                       fmt::format("the guest ran on to {}", describe(here)));
    }
    return step::Progress{};
}

void Replayer::note(const Stop& stop) {
    std::visit(Overloaded{
                   [](const stop::Exit&) {},
                   [](const stop::Kicked&) {},
                   [&](const stop::NeedsTime&) { lacks_ = Lacks::kTime; },
                   [&](const stop::Halted&) { lacks_ = Lacks::kInput; },
                   [&](const stop::PoweredOff&) { ended_ = record::EndKind::kPoweredOff; },
                   [&](const stop::Reset& reset) {
                       ended_ = reset.triple_fault ? record::EndKind::kTripleFault
                                                   : record::EndKind::kReset;
                   },
                   [&](const stop::Crashed& crashed) {
                       ended_ = record::EndKind::kCrashed;
                       crash_ = crashed.why;
                   },
               },
               stop);
}

void Replayer::begin_landmark() {
    outputs_before_ = outputs_;
}

void Replayer::collect_outputs() {
    auto outputs = machine_->take_outputs();
    outputs_ += outputs.size();
    taken_.insert(taken_.end(), std::move_iterator(outputs.begin()),
                  std::move_iterator(outputs.end()));
}

void Replayer::drop_record() {
    records_.pop_front();
    next_ = next_ + 1;
}

Step Replayer::diverge(DivergenceKind kind, std::string guest_did) const {
    Divergence divergence;
    divergence.kind = kind;
    divergence.where = machine_->landmark();
    divergence.seq = next_;
    divergence.log_says = describe(records_.front());
    divergence.guest_did = std::move(guest_did);
    divergence.agreed = agreed_;
    return step::Diverged{std::move(divergence)};
}

}  // namespace ftvmm::replay
