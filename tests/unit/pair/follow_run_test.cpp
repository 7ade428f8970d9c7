// A guest that follows a log as it comes, on two threads.
#include "pair/follow_run.h"

#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "pair/batch_queue.h"
#include "toy_machine.h"
#include "toy_recording.h"

namespace ftvmm::pair {
namespace {

using replay::Batch;
using replay::Seq;
using replay::testing::RecordingOptions;
using replay::testing::ToyMachine;
using replay::testing::ToyOptions;

// What a Secondary gets of a recorded guest: the machine as the log begins, and the rest of the
// log.
struct Log {
    explicit Log(std::uint64_t seed, const RecordingOptions& options = {})
        : recording(replay::testing::record_toy(seed, options)),
          batches(replay::testing::decode(recording.batches)) {
        auto& first = batches.front();
        rng_seed = std::get<replay::record::PowerOn>(first.records.front().body).rng_seed;
        first.records.erase(first.records.begin());
        first.first = Seq(1);
        if (first.records.empty()) batches.erase(batches.begin());
    }
    [[nodiscard]] FollowRun run(const ToyOptions& toy = {}) const {
        FollowRun run;
        run.machine = std::make_unique<ToyMachine>(rng_seed, toy);
        run.first = Seq(1);
        run.make =
            [toy](
                std::span<const std::byte> seed) -> Result<std::unique_ptr<replay::GuestMachine>> {
            return std::make_unique<ToyMachine>(seed, toy);
        };
        run.replayed = [](Seq, GuestTime) {};
        return run;
    }

    replay::testing::Recording recording;
    std::vector<Batch> batches;
    std::vector<std::byte> rng_seed;
};

// Of a request: no two of one guest are the same. Of anything else, 0.
std::uint64_t id_of(const replay::Output& output) {
    constexpr std::uint64_t kDisks = 1'000'000'000;
    if (const auto* request = std::get_if<replay::output::DiskRequest>(&output)) {
        return kDisks * (request->disk + 1) + request->id + 1;
    }
    const auto* entropy = std::get_if<replay::output::EntropyRequest>(&output);
    return entropy == nullptr ? 0 : entropy->id + 1;
}

// What the guest of a log has asked for in these batches without an answer in them.
std::set<std::uint64_t> unanswered(const Log& log, std::span<const Batch> batches,
                                   const ToyOptions& toy) {
    ToyMachine machine(log.rng_seed, toy);
    replay::Replayer replayer(machine, {.first = Seq(1)});
    std::set<std::uint64_t> ids;
    for (const Batch& batch : batches) {
        REQUIRE(replayer.feed(batch));
        while (true) {
            const auto step = replayer.step();
            REQUIRE(step);
            for (const replay::Output& output : replayer.take_outputs())
                ids.insert(id_of(output));
            if (std::holds_alternative<replay::step::NeedsRecords>(*step)) break;
            REQUIRE(std::holds_alternative<replay::step::Progress>(*step));
        }
    }
    for (const Batch& batch : batches) {
        for (const auto& record : batch.records) {
            if (const auto* done = std::get_if<replay::record::DiskCompletion>(&record.body)) {
                replay::output::DiskRequest request;
                request.disk = done->disk;
                request.id = done->id;
                ids.erase(id_of(request));
            } else if (const auto* entropy = std::get_if<replay::record::Entropy>(&record.body)) {
                ids.erase(id_of(replay::output::EntropyRequest{entropy->id, 0}));
            }
        }
    }
    ids.erase(0);
    return ids;
}

TEST_CASE("A follower comes to the guest's end, over its lives, as the log comes in") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        RecordingOptions options;
        options.toy.mean_life = 100;
        const Log log(seed, options);
        BatchQueue queue;
        std::thread link([&] {
            for (const Batch& batch : log.batches)
                queue.push({batch});
        });
        FollowRun run = log.run(options.toy);
        Seq told;
        run.replayed = [&](Seq next, GuestTime) { told = next; };
        const auto end = follow(std::move(run), queue);
        link.join();
        REQUIRE(end);
        const auto* ended = std::get_if<follow_end::Ended>(&end->how);
        REQUIRE(ended != nullptr);
        CHECK(ended->end == log.recording.end);
        if (log.recording.memory_hash) {
            CHECK(end->machine->memory_hash() == *log.recording.memory_hash);
        }
        CHECK(told == Seq(log.recording.batches.back().last.value() + 1));
    }
}

TEST_CASE("A follower whose log stops does all that came, and knows what is in flight") {
    bool any_in_flight = false;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        RecordingOptions options;
        options.toy.mean_life = 1'000'000;
        const Log log(seed, options);
        BatchQueue queue;
        const std::size_t some = 1 + log.batches.size() / 2;
        for (std::size_t i = 0; i < some; ++i)
            queue.push({log.batches.at(i)});
        queue.close();
        const auto end = follow(log.run(options.toy), queue);
        REQUIRE(end);
        if (std::holds_alternative<follow_end::Ended>(end->how)) continue;
        REQUIRE(std::holds_alternative<follow_end::LogEnded>(end->how));
        const Batch& last = log.batches.at(some - 1);
        CHECK(end->next == Seq(last.first.value() + last.records.size()));
        const std::set<std::uint64_t> wanted =
            unanswered(log, std::span(log.batches).first(some), options.toy);
        std::set<std::uint64_t> in_flight;
        std::size_t requests = 0;
        for (const auto& output : end->in_flight) {
            // How a card is set is no request.
            if (std::holds_alternative<replay::output::NicOffload>(output)) continue;
            in_flight.insert(id_of(output));
            ++requests;
        }
        CHECK(in_flight == wanted);
        CHECK(in_flight.size() == requests);
        any_in_flight = any_in_flight || !wanted.empty();
    }
    CHECK(any_in_flight);
}

TEST_CASE("A log that stops between two lives leaves no machine, and nothing in flight") {
    std::size_t found = 0;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        RecordingOptions options;
        options.toy.mean_life = 100;
        const Log log(seed, options);
        BatchQueue queue;
        bool stops_between = false;
        for (const Batch& batch : log.batches) {
            queue.push({batch});
            const auto* end = std::get_if<replay::record::End>(&batch.records.back().body);
            stops_between = end != nullptr && replay::is_reset(end->kind);
            if (stops_between) break;
        }
        queue.close();
        const auto end = follow(log.run(options.toy), queue);
        REQUIRE(end);
        if (!stops_between) continue;
        ++found;
        CHECK(std::holds_alternative<follow_end::LogEnded>(end->how));
        CHECK(end->machine == nullptr);
        CHECK(end->in_flight.empty());
    }
    CHECK(found > 5);
}

TEST_CASE("A follower that diverges says where, and asks for nothing") {
    const Log log(3);
    BatchQueue queue;
    for (const Batch& batch : log.batches)
        queue.push({batch});
    ToyOptions faulty;
    faulty.fault = {replay::testing::ToyFault::Kind::kHostClock, 5, 12345};
    const auto end = follow(log.run(faulty), queue);
    REQUIRE(end);
    REQUIRE(std::holds_alternative<follow_end::Diverged>(end->how));
    CHECK(std::get<follow_end::Diverged>(end->how).divergence.where.exits <= 6);
    CHECK(end->in_flight.empty());
}

}  // namespace
}  // namespace ftvmm::pair
