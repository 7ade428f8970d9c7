// A toy guest that is recorded to a file, replayed with a fault, and what is told of it.
#include "cli/divergence_report.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "cli/log_report.h"
#include "node/replay_run.h"
#include "replay/log_file.h"
#include "temp_folder.h"
#include "toy_machine.h"
#include "toy_recording.h"
#include "vmm/machine/checkpoint_codec.h"

namespace ftvmm::cli {
namespace {

using replay::Landmark;
using replay::Record;
using replay::Seq;
using replay::testing::ToyFault;
using replay::testing::ToyMachine;
using replay::testing::ToyOptions;
namespace record = replay::record;

struct Folder : ftvmm::testing::TempFolder {
    [[nodiscard]] std::string log() const { return TempFolder::file("log"); }
    [[nodiscard]] std::string report() const { return TempFolder::file("report"); }
};

void write_log(const std::string& path, const std::vector<std::vector<std::byte>>& batches) {
    replay::LogHeader header;
    header.memory_bytes = 1U << 20U;
    auto writer = replay::LogWriter::create(path, header);
    REQUIRE(writer);
    for (const auto& batch : batches)
        REQUIRE(writer->append(batch));
}

// All records of a log, as it holds them.
std::vector<Record> records_of(const std::string& path) {
    auto reader = replay::LogReader::open(path);
    REQUIRE(reader);
    std::vector<Record> records;
    while (true) {
        auto batch = reader->next();
        REQUIRE(batch);
        if (!*batch) return records;
        std::move((*batch)->records.begin(), (*batch)->records.end(), std::back_inserter(records));
    }
}

node::ReplayEnd replay_toy(const std::string& path, const ToyOptions& options) {
    auto log = replay::LogReader::open(path);
    REQUIRE(log);
    const node::MakeMachine make =
        [&](std::span<const std::byte> seed) -> Result<std::unique_ptr<replay::GuestMachine>> {
        return std::make_unique<ToyMachine>(seed, options);
    };
    auto end = node::run_replay(*log, make, {});
    REQUIRE(end);
    return std::move(*end);
}

void record_toy(const std::string& path, bool traces = false) {
    replay::testing::RecordingOptions options;
    options.traces = traces;
    const auto recording = replay::testing::record_toy(3, options);
    std::vector<std::vector<std::byte>> batches;
    for (const auto& batch : recording.batches)
        batches.push_back(batch.bytes);
    write_log(path, batches);
}

// It sees, from exit `first` on, what no log holds.
node::ReplayEnd replay_with_fault(const std::string& path, std::uint64_t first = 100) {
    ToyOptions options;
    options.fault = {ToyFault::Kind::kHostClock, first, 12345};
    return replay_toy(path, options);
}

const replay::Divergence& divergence_of(const node::ReplayEnd& end) {
    REQUIRE(std::holds_alternative<node::replay_end::Diverged>(end.how));
    return std::get<node::replay_end::Diverged>(end.how).divergence;
}

replay::Divergence held_against(Seq seq, Landmark where) {
    replay::Divergence divergence;
    divergence.seq = seq;
    divergence.where = where;
    return divergence;
}

bool has(const std::string& text, const std::string& what) {
    return text.find(what) != std::string::npos;
}

// A log whose one checkpoint has this RAX, at exit 5.
std::vector<Record> records_with_checkpoint(std::uint64_t rax) {
    machine::CpuState cpu;
    cpu.regs.rax = rax;
    machine::CheckpointEncoder encoder(0, cpu);
    encoder.end_pages();
    encoder.end_pages();
    return {{{}, 0, record::PowerOn{}},
            {{5, 1}, 0, record::Checkpoint{encoder.take()}},
            {{6, 1}, 0, record::Mark{}}};
}

std::vector<std::byte> batch_of(Seq first, const std::vector<Record>& records) {
    replay::RecordEncoder encoder;
    for (const Record& record : records)
        encoder.add(record);
    return replay::make_batch(first, records.size(), encoder.take());
}

}  // namespace

TEST_CASE("The sixteen records before a divergence are told as log show tells them") {
    const Folder folder;
    record_toy(folder.log());
    const auto end = replay_with_fault(folder.log());
    const auto& divergence = divergence_of(end);
    const auto records = records_of(folder.log());
    const std::uint64_t last = divergence.seq.value();
    REQUIRE(last > kRecordsShown);
    const auto excerpt = read_excerpt(folder.log(), divergence);
    REQUIRE(excerpt);
    REQUIRE(excerpt->records.size() == kRecordsShown + 1);
    for (std::size_t i = 0; i <= kRecordsShown; ++i) {
        const Seq seq(last - kRecordsShown + i);
        const std::string mark = i == kRecordsShown ? "> " : "  ";
        CHECK(excerpt->records[i] == mark + render_text(seq, records.at(seq.value())));
        CHECK(has(render_report(divergence, *excerpt, nullptr), excerpt->records[i]));
    }
    // A guest that agrees has nothing to be told of.
    CHECK(std::holds_alternative<node::replay_end::Ended>(replay_toy(folder.log(), {}).how));
}

TEST_CASE("The first exit that differs lies in the stretch that is told") {
    const Folder folder;
    record_toy(folder.log());
    for (std::uint64_t first = 1; first <= 100; ++first) {
        INFO("exit " << first);
        const auto end = replay_with_fault(folder.log(), first);
        const auto& divergence = divergence_of(end);
        CHECK(divergence.where.exits >= first);
        REQUIRE(divergence.agreed);
        // The end of an access that waited for the time shows nothing: then the next one is it.
        CHECK(divergence.agreed->at.exits <= first);
        CHECK(divergence.agreed->at < divergence.where);
        CHECK(has(render_report(divergence, {}, nullptr),
                  replay::describe_first_difference(divergence)));
    }
}

TEST_CASE("In a traced log the very exit that differs is told, with the registers of both") {
    const Folder folder;
    record_toy(folder.log(), true);
    CHECK(std::holds_alternative<node::replay_end::Ended>(replay_toy(folder.log(), {}).how));
    int exact = 0;
    for (std::uint64_t first = 1; first <= 100; ++first) {
        INFO("exit " << first);
        const auto end = replay_with_fault(folder.log(), first);
        const auto& divergence = divergence_of(end);
        // The end of an access that waited for the time shows nothing.
        CHECK((divergence.where.exits == first || divergence.where.exits == first + 1));
        exact += divergence.where.exits == first ? 1 : 0;
        REQUIRE(divergence.agreed);
        CHECK(divergence.agreed->at.exits + 1 == divergence.where.exits);
        const auto excerpt = read_excerpt(folder.log(), divergence);
        REQUIRE(excerpt);
        REQUIRE(excerpt->exit);
        const auto text = render_report(divergence, *excerpt, end.machine.get());
        CHECK(has(text, "the first difference is " + replay::describe(divergence.where)));
        const auto replayed = *end.machine->registers();
        CHECK(replayed != excerpt->exit->registers);
        for (std::size_t i = 0; i < replayed.size(); ++i) {
            const bool differs = replayed.at(i) != excerpt->exit->registers.at(i);
            CHECK(has(text, fmt::format("\n{} {:>7}  {:016x}          {:016x}\n",
                                        differs ? '*' : ' ', replay::kCpuRegisterNames.at(i),
                                        excerpt->exit->registers.at(i), replayed.at(i))));
        }
        CHECK_FALSE(has(text, "same exit"));
    }
    CHECK(exact > 50);
}

TEST_CASE(
    "An exit that is traced is looked for in the same life, and behind the record if need be") {
    const auto traced = [](Landmark at, std::uint64_t rax) {
        replay::ExitFacts exit;
        exit.registers.at(0) = rax;
        return Record{at, 0, record::Trace{exit}};
    };
    const Folder folder;
    write_log(folder.log(), {batch_of(Seq(0), {{{}, 0, record::PowerOn{}},
                                               traced({1, 0}, 11),
                                               traced({2, 0}, 12),
                                               {{2, 0}, 0, record::End{record::EndKind::kReset, 0}},
                                               {{}, 0, record::PowerOn{}},
                                               traced({1, 0}, 21),
                                               {{2, 0}, 0, record::Mark{}}}),
                             batch_of(Seq(7), {traced({2, 0}, 22), traced({3, 0}, 23)})});
    // Held against the mark that closes a batch: the exit's own record is in the next one.
    const auto at_mark = read_excerpt(folder.log(), held_against(Seq(6), {2, 0}));
    REQUIRE(at_mark);
    REQUIRE(at_mark->exit);
    CHECK(at_mark->exit->registers.at(0) == 22);
    REQUIRE(at_mark->before);
    CHECK(at_mark->before->values.at(0) == 21);
    // A life that has not come there has no such exit, whatever the others did.
    const auto in_first = read_excerpt(folder.log(), held_against(Seq(3), {3, 0}));
    REQUIRE(in_first);
    CHECK_FALSE(in_first->exit);
    CHECK(in_first->before->values.at(0) == 12);
    const auto at_power_on = read_excerpt(folder.log(), held_against(Seq(4), {2, 0}));
    REQUIRE(at_power_on);
    CHECK(at_power_on->records.size() == 5);
}

TEST_CASE("Where both make the same exit, it is said that what it carried differs") {
    const ToyMachine machine({});
    LogExcerpt excerpt;
    excerpt.exit = machine.last_exit();
    replay::Divergence divergence;
    divergence.kind = replay::DivergenceKind::kDigest;
    const auto text = render_report(divergence, excerpt, &machine);
    CHECK(has(text, "by these it is the same exit"));
    CHECK_FALSE(has(text, "\n* "));
    // Not where something else than the digest differs.
    divergence.kind = replay::DivergenceKind::kHalted;
    CHECK_FALSE(has(render_report(divergence, excerpt, &machine), "same exit"));
    divergence.kind = replay::DivergenceKind::kDigest;
    excerpt.exit->where ^= 1U;
    const auto other = render_report(divergence, excerpt, &machine);
    CHECK_FALSE(has(other, "same exit"));
    CHECK(has(other, "\n*    exit  out"));
}

TEST_CASE("Where a divergence is early, all records before it are told") {
    const Folder folder;
    write_log(folder.log(), {batch_of(Seq(0), records_with_checkpoint(1))});
    const auto excerpt = read_excerpt(folder.log(), held_against(Seq(2), {6, 1}));
    REQUIRE(excerpt);
    REQUIRE(excerpt->records.size() == 3);
    CHECK(has(excerpt->records[0], "power on"));
    CHECK(excerpt->records[2].starts_with("> "));
    // The replay may want a record that the log does not hold yet.
    const auto behind = read_excerpt(folder.log(), held_against(Seq(3), {6, 1}));
    REQUIRE(behind);
    CHECK(behind->records.size() == 3);
    CHECK_FALSE(read_excerpt(folder.report(), {}));
}

TEST_CASE("The registers of the replayed guest are told, or that it does not tell them") {
    const Folder folder;
    record_toy(folder.log());
    const auto end = replay_with_fault(folder.log());
    REQUIRE(end.machine);
    const auto registers = end.machine->registers();
    REQUIRE(registers);
    const auto text = render_report(divergence_of(end), {}, end.machine.get());
    CHECK(has(text, replay::describe(end.machine->landmark())));
    for (std::size_t i = 0; i < registers->size(); ++i) {
        CHECK(has(text,
                  fmt::format("{} {:016x}", replay::kCpuRegisterNames.at(i), registers->at(i))));
    }
    // A toy has no code.
    CHECK(has(text, "where it stands\n  (it can not be read)"));
    CHECK_FALSE(has(render_report(divergence_of(end), {}, nullptr), "processor"));
}

TEST_CASE("Registers as they were recorded come from the last checkpoint of the same life") {
    const Folder folder;
    auto lives = records_with_checkpoint(0x1234);
    lives.push_back({{7, 1}, 0, record::End{record::EndKind::kReset, 0}});
    lives.push_back({{}, 0, record::PowerOn{}});
    lives.push_back({{1, 0}, 0, record::Mark{}});
    write_log(folder.log(), {batch_of(Seq(0), lives)});

    const auto behind = read_excerpt(folder.log(), held_against(Seq(2), {6, 1}));
    REQUIRE(behind);
    REQUIRE(behind->before);
    CHECK(behind->before->at == Landmark{5, 1});
    CHECK(behind->before->values.at(0) == 0x1234);
    const ToyMachine machine({});
    const auto text = render_report({}, *behind, &machine);
    CHECK(has(text, "as it was recorded, at exit 5, checkpoint 1\n      rax 0000000000001234"));

    // The checkpoint that the guest was held against is not where it stands, nor another life's.
    for (const auto& divergence : {held_against(Seq(1), {5, 0}), held_against(Seq(5), {1, 0})}) {
        const auto none = read_excerpt(folder.log(), divergence);
        REQUIRE(none);
        CHECK_FALSE(none->before);
        CHECK(has(render_report({}, *none, &machine), "the log holds no processor's state"));
    }
}

TEST_CASE("A report is written for its owner alone, over an older one, and failure is an error") {
    const Folder folder;
    REQUIRE(write_report(folder.report(), "a long report\n"));
    REQUIRE(write_report(folder.report(), "short\n"));
    std::ifstream file(folder.report());
    CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == "short\n");
    struct stat status {};
    REQUIRE(::stat(folder.report().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0600U);
    const auto written = write_report(folder.report() + "/no/such", "lost");
    REQUIRE_FALSE(written);
    CHECK(has(written.error().what(), "/no/such"));
}

}  // namespace ftvmm::cli
