#include "replay/recorder.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "replay/log_format.h"

namespace ftvmm::replay {

namespace {

// Every batch has room for the mark that closes it.
constexpr std::size_t kRoom = kMaxBatchBytes - RecordEncoder::kMaxPlainBytes;

}  // namespace

Recorder::Place Recorder::place_of(const GuestMachine& machine) {
    return {machine.landmark(), machine.digest()};
}

Seq Recorder::power_on(const GuestMachine& machine, std::span<const std::byte> rng_seed) {
    FTVMM_CHECK(machine.landmark() == Landmark{}, "a life begins at landmark zero");
    // The mark of a life that did not end would lie at the new life's landmark.
    if (has_open()) close();
    outputs_ = 0;
    return add(place_of(machine), record::PowerOn{{rng_seed.begin(), rng_seed.end()}});
}

Seq Recorder::record(const GuestMachine& machine, const Input& input) {
    const Place place = place_of(machine);
    make_room(place, blob_bytes(input));
    const std::size_t bytes = encoder_.add(place.at, short_digest(place.digest), input);
    return added(input.index(), bytes);
}

Seq Recorder::output_mark(const GuestMachine& machine) {
    return add(place_of(machine), record::OutputMark{++outputs_});
}

Result<Seq> Recorder::checkpoint(GuestMachine& machine) {
    const Place before = place_of(machine);
    FTVMM_ASSIGN(auto state, machine.take_checkpoint());
    const Place place = place_of(machine);
    FTVMM_CHECK(place.at.exits == before.at.exits &&
                    place.at.checkpoints == before.at.checkpoints + 1 &&
                    place.digest == before.digest,
                "a checkpoint is the next landmark, and no exit");
    if (state.size() > kMaxRecordBytes - RecordEncoder::kMaxPlainBytes) {
        return fail(fmt::format("a checkpoint of the guest takes {} MiB, and a log holds {} MiB",
                                state.size() >> 20U, kMaxRecordBytes >> 20U),
                    "record a guest that writes to less memory, or without checkpoints");
    }
    // A mark that makes room lies before the checkpoint: nothing else leads to the place behind it.
    make_room(before, state.size());
    return add(place, record::Checkpoint{std::move(state)});
}

Seq Recorder::trace(const GuestMachine& machine, const ExitFacts& exit) {
    return add(place_of(machine), record::Trace{exit});
}

Seq Recorder::audit(const GuestMachine& machine) {
    return add(place_of(machine), record::Audit{machine.memory_hash()});
}

Seq Recorder::end(const GuestMachine& machine, record::EndKind kind) {
    const Seq seq = add(place_of(machine), record::End{kind, machine.digest()});
    if (has_open()) close();
    marked_ = machine.landmark();
    return seq;
}

void Recorder::flush(const GuestMachine& machine) {
    const Place place = place_of(machine);
    if (marked_ != place.at) mark(place);
    if (has_open()) close();
}

std::vector<ClosedBatch> Recorder::take_batches() {
    closed_bytes_ = 0;
    return std::exchange(closed_, {});
}

Seq Recorder::add(const Place& place, Body body) {
    const bool is_trace = std::holds_alternative<record::Trace>(body);
    make_room(place, is_trace ? RecordEncoder::kMaxTraceBytes : blob_bytes(body));
    const std::size_t kind = body.index();
    const Record record{place.at, short_digest(place.digest), std::move(body)};
    return added(kind, encoder_.add(record));
}

void Recorder::make_room(const Place& place, std::size_t blob_bytes) {
    const std::size_t bytes = RecordEncoder::kMaxPlainBytes + blob_bytes;
    FTVMM_CHECK(bytes <= kMaxRecordBytes, "a device bounds what it takes");
    if (!has_open()) return;
    if (encoder_.size() + bytes > kRoom || open_records_ + 2 > kMaxBatchRecords) {
        mark(place);
        close();
    }
}

Seq Recorder::added(std::size_t kind, std::size_t bytes) {
    const Seq seq = count(kind, bytes);
    marked_.reset();
    // A record that is too large for others to join it is alone.
    if (encoder_.size() > kRoom) close();
    return seq;
}

Seq Recorder::count(std::size_t kind, std::size_t bytes) {
    statistics_.add(kind, bytes);
    ++open_records_;
    return std::exchange(next_, next_ + 1);
}

void Recorder::mark(const Place& place) {
    const Record mark{place.at, short_digest(place.digest), record::Mark{place.digest}};
    count(mark.body.index(), encoder_.add(mark));
    marked_ = place.at;
}

void Recorder::close() {
    const auto payload = encoder_.take();
    ClosedBatch batch;
    batch.first = Seq(next_.value() - open_records_);
    batch.last = Seq(next_.value() - 1);
    batch.bytes = make_batch_to_pack(batch.first, open_records_, payload);
    open_records_ = 0;
    closed_bytes_ += batch.bytes.size();
    closed_.push_back(std::move(batch));
    ++statistics_.batches;
}

}  // namespace ftvmm::replay
