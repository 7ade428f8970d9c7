// A guest's life is recorded and happens again, for every seed; and a replay that is not the same
// is told.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/log_format.h"
#include "toy_recording.h"

namespace ftvmm::replay::testing {
namespace {

constexpr std::uint64_t kSeeds = 2000;

// Every kind of run comes up: with and without kicks, marks of outputs, traces, a visible
// clock, short lives.
RecordingOptions options_of(std::uint64_t seed) {
    RecordingOptions options;
    options.most_exits = 50 + seed % 7 * 60;
    options.seed_kicks = seed % 5;
    options.marks_outputs = seed % 3 != 0;
    options.traces = seed % 6 == 5;
    options.toy.shows_time = seed % 4 == 1;
    options.toy.mean_life = seed % 2 == 0 ? 100 : 2000;
    return options;
}

// What is different, or nothing.
std::string difference(const Recording& recorded, const Replayed& replayed) {
    if (replayed.is_hung) return "the replay hangs";
    if (replayed.divergence) return describe(*replayed.divergence);
    if (!replayed.end) return "the replay does not end";
    if (*replayed.end != recorded.end) return "the end is another";
    if (replayed.outputs != recorded.outputs) return "the outputs are others";
    if (recorded.memory_hash && replayed.memory_hash != *recorded.memory_hash) {
        return "the memory is another";
    }
    return {};
}

// Two halves of the seeds are two tests, so that they can run at once.
void replay_seeds(std::uint64_t first, std::uint64_t end) {
    for (std::uint64_t seed = first; seed < end; ++seed) {
        const auto options = options_of(seed);
        const auto recorded = record_toy(seed, options);
        const auto batches = decode(recorded.batches);
        CAPTURE(seed);
        REQUIRE(difference(recorded, replay_toy(batches, options.toy)).empty());
    }
}

}  // namespace

TEST_CASE("What was recorded happens again: half of the seeds") {
    replay_seeds(0, kSeeds / 2);
}

TEST_CASE("What was recorded happens again: the other half of the seeds") {
    replay_seeds(kSeeds / 2, kSeeds);
}

TEST_CASE("The seeds cover every kind of record and of end, and computing is left out of replays") {
    LogStatistics sum;
    std::vector<int> ends(5);
    std::uint64_t recorded_steps = 0;
    std::uint64_t replayed_steps = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const auto options = options_of(seed);
        const auto recorded = record_toy(seed, options);
        for (std::size_t kind = 0; kind < kRecordKinds; ++kind)
            sum.by_kind.at(kind).count += recorded.statistics.by_kind.at(kind).count;
        const auto batches = decode(recorded.batches);
        for (const Record& record : records_of(batches)) {
            if (const auto* end = std::get_if<record::End>(&record.body)) {
                ++ends.at(static_cast<std::size_t>(end->kind));
            }
        }
        recorded_steps += recorded.steps;
        replayed_steps += replay_toy(batches, options.toy).steps;
    }
    for (std::size_t kind = 0; kind < kRecordKinds; ++kind) {
        CAPTURE(name_of_kind(kind));
        CHECK(sum.by_kind.at(kind).count > 10);
    }
    ends.pop_back();  // No toy crashes unless it is told to.
    CHECK(std::ranges::all_of(ends, [](int count) { return count > 3; }));
    // What the guest computed between a landmark and a checkpoint is loaded instead.
    CHECK(replayed_steps < recorded_steps);
}

TEST_CASE(
    "A replay that follows a recording is never ahead of it and comes as far as it was told") {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        CAPTURE(seed);
        auto options = options_of(seed);
        options.toy.mean_life = 1'000'000;  // One life, so one machine to compare.
        ToyWorld world(seed, options);
        SeededEntropy random(seed);
        Replayer follower;
        std::unique_ptr<ToyMachine> machine;
        bool goes_on = true;
        while (goes_on) {
            goes_on = world.step();
            if (random.below(4) == 0) world.recorder().flush(world.machine());
            const auto closed = world.recorder().take_batches();
            for (const Batch& batch : decode(closed))
                REQUIRE(follower.feed(batch));
            while (true) {
                auto step = follower.step();
                REQUIRE(step);
                if (machine) REQUIRE(machine->landmark() <= world.machine().landmark());
                if (const auto* on = std::get_if<step::PowersOn>(&*step)) {
                    machine = std::make_unique<ToyMachine>(on->record.rng_seed, options.toy);
                    follower.power_on(*machine);
                    continue;
                }
                REQUIRE(!std::holds_alternative<step::Diverged>(*step));
                if (!std::holds_alternative<step::Progress>(*step)) break;
            }
            if (world.recorder().has_open() || closed.empty()) continue;
            REQUIRE(machine->landmark() == world.machine().landmark());
            REQUIRE(machine->digest() == world.machine().digest());
        }
    }
}

namespace {

// How many of the seeds a fault was noticed in. A fault that comes after the end, or that does
// nothing, is none: the caller says how many that may be.
int noticed(ToyFault::Kind kind, std::uint64_t nth, std::uint64_t seeds) {
    int count = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        RecordingOptions options;
        options.toy.mean_life = 1'000'000;
        const auto recorded = record_toy(seed, options);
        auto faulty = options.toy;
        faulty.fault = {kind, nth, 12345 + seed};
        const auto replayed = replay_toy(decode(recorded.batches), faulty);
        if (replayed.divergence || replayed.is_hung) ++count;
    }
    return count;
}

}  // namespace

TEST_CASE("A replay that loses or delays an input, or sees what no log holds, is noticed") {
    CHECK(noticed(ToyFault::Kind::kForgetsInput, 20, 100) == 100);
    CHECK(noticed(ToyFault::Kind::kInputLate, 20, 100) == 100);
    CHECK(noticed(ToyFault::Kind::kHostClock, 100, 100) == 100);
    CHECK(noticed(ToyFault::Kind::kNone, 0, 100) == 0);
}

TEST_CASE("A replay that does not put out what was put out is noticed by the output marks") {
    CHECK(noticed(ToyFault::Kind::kForgetsOutput, 10, 100) == 100);
}

TEST_CASE("A replay that does not stop, or can not go on, is noticed") {
    CHECK(noticed(ToyFault::Kind::kHangs, 100, 100) == 100);
    CHECK(noticed(ToyFault::Kind::kCrashes, 100, 100) == 100);
}

TEST_CASE("A checkpoint that does not reach all memory is noticed") {
    // Where the guest was stopped before it did anything, there is nothing to notice.
    CHECK(noticed(ToyFault::Kind::kForgetsMemory, 5, 100) > 90);
}

TEST_CASE("One bit of an input that differs is noticed at that input or behind it") {
    SeededEntropy random(7);
    int flips = 0;
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        RecordingOptions options;
        options.toy.mean_life = 1'000'000;
        const auto recorded = record_toy(seed, options);
        Batch all{Seq(0), records_of(decode(recorded.batches))};
        const Landmark end = all.records.back().at;
        // An input that some exit follows.
        const auto is_seen = [&](const Record& record) {
            return record.at.exits + 1 < end.exits && blob_bytes(record.body) > 0 &&
                   input_of(record.body);
        };
        std::vector<std::size_t> candidates;
        for (std::size_t i = 0; i < all.records.size(); ++i)
            if (is_seen(all.records[i])) candidates.push_back(i);
        REQUIRE(!candidates.empty());
        const std::size_t chosen = candidates[random.below(candidates.size())];
        Body& body = all.records[chosen].body;
        const auto flip = [&](std::vector<std::byte>& bytes) {
            bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1U << random.below(8));
        };
        if (auto* packet = std::get_if<record::Packet>(&body)) flip(packet->frame);
        if (auto* console = std::get_if<record::ConsoleBytes>(&body)) flip(console->bytes);
        if (auto* done = std::get_if<record::DiskCompletion>(&body)) flip(done->data);
        if (auto* entropy = std::get_if<record::Entropy>(&body)) flip(entropy->bytes);
        CAPTURE(seed, chosen);
        const auto replayed = replay_toy(std::span(&all, 1), options.toy);
        REQUIRE((replayed.divergence || replayed.is_hung));
        if (!replayed.divergence) continue;
        ++flips;
        CHECK(replayed.divergence->seq.value() >= chosen);
        CHECK(replayed.divergence->where >= all.records[chosen].at);
    }
    CHECK(flips > 100);
}

}  // namespace ftvmm::replay::testing
