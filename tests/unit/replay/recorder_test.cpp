#include "replay/recorder.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/log_format.h"
#include "scripted_machine.h"
#include "toy_recording.h"

namespace ftvmm::replay {
namespace {

using testing::decode;
using testing::mark_at;
using testing::records_of;
using testing::scripted;
using testing::ScriptedMachine;

input::Packet packet_of(std::span<const std::byte> frame) {
    return {0, frame};
}

// The batches closed so far, decoded.
std::vector<Batch> batches_of(Recorder& recorder) {
    return decode(recorder.take_batches());
}

bool ends_with_mark(const Batch& batch) {
    return std::holds_alternative<record::Mark>(batch.records.back().body);
}

std::size_t raw_bytes(const ClosedBatch& batch) {
    return batch.bytes.size() - BatchHeader::kBytes;
}

}  // namespace

TEST_CASE("What is recorded lies at the guest's landmark, in order, under consecutive numbers") {
    ScriptedMachine machine;
    Recorder recorder(Seq(5));
    CHECK(recorder.power_on(machine, {}) == Seq(5));
    machine.at.exits = 3;
    CHECK(recorder.record(machine, input::PowerButton{}) == Seq(6));
    CHECK(recorder.output_mark(machine) == Seq(7));
    CHECK(recorder.output_mark(machine) == Seq(8));
    CHECK(*recorder.checkpoint(machine) == Seq(9));
    CHECK(recorder.audit(machine) == Seq(10));
    CHECK(recorder.next() == Seq(11));
    CHECK(recorder.take_batches().empty());
    CHECK(recorder.end(machine, record::EndKind::kStopped) == Seq(11));

    const auto batches = batches_of(recorder);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].first == Seq(5));
    const Landmark last{3, 1};
    CHECK(batches[0].records ==
          std::vector<Record>{
              scripted({}, record::PowerOn{}),
              scripted({3, 0}, input::PowerButton{}),
              scripted({3, 0}, record::OutputMark{1}),
              scripted({3, 0}, record::OutputMark{2}),
              scripted(last, record::Checkpoint{std::vector<std::byte>(1)}),
              scripted(last, record::Audit{0x3333}),
              scripted(last, record::End{record::EndKind::kStopped, machine.digest()}),
          });
}

TEST_CASE("Outputs are counted from each power-on") {
    ScriptedMachine machine;
    Recorder recorder(Seq(0), 40);
    recorder.output_mark(machine);
    CHECK(recorder.outputs() == 41);
    recorder.power_on(machine, {});
    recorder.output_mark(machine);
    CHECK(recorder.outputs() == 1);
}

TEST_CASE("flush() closes the batch with a mark where the guest is, once for each landmark") {
    ScriptedMachine machine;
    Recorder recorder;
    recorder.power_on(machine, {});
    machine.at.exits = 2;
    recorder.flush(machine);
    recorder.flush(machine);
    auto batches = batches_of(recorder);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].records.back() == mark_at(2));
    // The guest goes on, and nothing reaches it.
    machine.at.exits = 9;
    recorder.flush(machine);
    batches = batches_of(recorder);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].records == std::vector<Record>{mark_at(9)});
    // Something reaches it at the same landmark: a follower has to know that this was all.
    recorder.record(machine, input::PowerButton{});
    recorder.flush(machine);
    batches = batches_of(recorder);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].records.size() == 2);
    CHECK(batches[0].records.back() == mark_at(9));
}

TEST_CASE("An end needs no mark") {
    ScriptedMachine machine;
    Recorder recorder;
    recorder.power_on(machine, {});
    recorder.end(machine, record::EndKind::kStopped);
    recorder.flush(machine);
    const auto batches = batches_of(recorder);
    REQUIRE(batches.size() == 1);
    CHECK(!ends_with_mark(batches[0]));
}

TEST_CASE("A batch is closed with a mark before it holds too many bytes") {
    ScriptedMachine machine;
    Recorder recorder;
    const std::vector<std::byte> frame(1000);
    for (int i = 0; i < 1000; ++i) {
        ++machine.at.exits;
        recorder.record(machine, packet_of(frame));
    }
    CHECK(recorder.closed_bytes() > 900'000);
    const auto closed = recorder.take_batches();
    CHECK(recorder.closed_bytes() == 0);
    CHECK(closed.size() >= 1'000'000 / kMaxBatchBytes);
    for (const ClosedBatch& batch : closed) {
        CHECK(raw_bytes(batch) <= kMaxBatchBytes);
        CHECK(raw_bytes(batch) > kMaxBatchBytes - 2000);
    }
    for (const Batch& batch : decode(closed))
        CHECK(ends_with_mark(batch));
}

TEST_CASE("A batch is closed with a mark before it holds too many records") {
    ScriptedMachine machine;
    Recorder recorder;
    for (std::size_t i = 0; i < kMaxBatchRecords + 10; ++i)
        recorder.record(machine, input::PowerButton{});
    recorder.flush(machine);
    const auto batches = batches_of(recorder);
    REQUIRE(batches.size() == 2);
    CHECK(batches[0].records.size() == kMaxBatchRecords);
    CHECK(ends_with_mark(batches[0]));
    // Between the two there is nothing but that mark.
    CHECK(batches[1].records.size() == 12);
}

TEST_CASE("A record that is larger than a batch is alone in one, behind what came before") {
    ScriptedMachine machine;
    Recorder recorder;
    recorder.power_on(machine, {});
    machine.at.exits = 7;
    machine.state = std::vector<std::byte>(kMaxBatchBytes * 3);
    REQUIRE(recorder.checkpoint(machine));
    CHECK(!recorder.has_open());
    recorder.record(machine, input::PowerButton{});
    recorder.flush(machine);
    const auto batches = batches_of(recorder);
    REQUIRE(batches.size() == 3);
    // The mark before it lies where the guest can come without it.
    CHECK(batches[0].records.back() == mark_at(7));
    CHECK(batches[1].records.size() == 1);
    CHECK(batches[1].records[0].at == Landmark{7, 1});
    CHECK(batches[2].records[0].at == Landmark{7, 1});
    CHECK(batches[2].first == Seq(3));
}

TEST_CASE("Records of about a batch's size are within the limits, whichever batch takes them") {
    for (std::size_t size = kMaxBatchBytes - 200; size < kMaxBatchBytes + 10; ++size) {
        ScriptedMachine machine;
        Recorder recorder;
        const std::vector<std::byte> frame(size);
        recorder.power_on(machine, {});
        recorder.record(machine, packet_of(frame));
        recorder.record(machine, packet_of(frame));
        recorder.flush(machine);
        CAPTURE(size);
        // Each is decoded, which checks its limits.
        const auto records = records_of(batches_of(recorder));
        CHECK(std::ranges::count_if(records, [](const Record& record) {
                  return std::holds_alternative<record::Packet>(record.body);
              }) == 2);
    }
}

TEST_CASE("A checkpoint that fails, or that no log can hold, is an error") {
    ScriptedMachine machine;
    Recorder recorder;
    machine.state = fail("no checkpoints here");
    machine.at = {};
    const auto failed = recorder.checkpoint(machine);
    REQUIRE(!failed);
    CHECK(failed.error().what() == "no checkpoints here");
    machine.state = std::vector<std::byte>(kMaxRecordBytes);
    const auto large = recorder.checkpoint(machine);
    REQUIRE(!large);
    CHECK(large.error().what() ==
          "a checkpoint of the guest takes 256 MiB, and a log holds 256 MiB");
    CHECK(recorder.next() == Seq(0));
}

TEST_CASE("Statistics hold every record and every byte of the payloads") {
    const auto recorded = testing::record_toy(3);
    const std::size_t bytes = std::accumulate(
        recorded.batches.begin(), recorded.batches.end(), std::size_t{0},
        [](std::size_t sum, const ClosedBatch& batch) { return sum + raw_bytes(batch); });
    CHECK(recorded.statistics.total().bytes == bytes);
    CHECK(recorded.statistics.total().count == recorded.batches.back().last.value() + 1);
    CHECK(recorded.statistics.batches == recorded.batches.size());
    const auto records = records_of(decode(recorded.batches));
    for (std::size_t kind = 0; kind < kRecordKinds; ++kind) {
        const auto count = std::ranges::count_if(
            records, [&](const Record& record) { return record.body.index() == kind; });
        CHECK(recorded.statistics.by_kind.at(kind).count == static_cast<std::uint64_t>(count));
    }
}

TEST_CASE("Traces fill batches to their limit and not beyond, and all are there") {
    ScriptedMachine machine;
    Recorder recorder;
    SeededEntropy random(1);
    std::vector<ExitFacts> exits(1000);
    for (ExitFacts& exit : exits) {
        exit.reason = ExitReason::kOut;
        random.fill(std::as_writable_bytes(std::span(exit.registers)));
        ++machine.at.exits;
        recorder.trace(machine, exit);
    }
    recorder.flush(machine);
    const auto closed = recorder.take_batches();
    CHECK(closed.size() > 3);
    for (const ClosedBatch& batch : closed)
        CHECK(raw_bytes(batch) <= kMaxBatchBytes);
    std::size_t traces = 0;
    const auto batches = decode(closed);
    for (const Record& record : records_of(batches)) {
        const auto* trace = std::get_if<record::Trace>(&record.body);
        if (trace != nullptr) CHECK(trace->exit == exits.at(traces++));
    }
    CHECK(traces == exits.size());
}

}  // namespace ftvmm::replay
