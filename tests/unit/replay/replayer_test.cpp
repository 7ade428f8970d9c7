#include "replay/replayer.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replayed.h"
#include "scripted_machine.h"

namespace ftvmm::replay {
namespace {

using record::EndKind;
using testing::end_at;
using testing::kButton;
using testing::mark_at;
using testing::needs_records;
using testing::Replay;
using testing::scripted;
using testing::ScriptedMachine;
using testing::time_of;

}  // namespace

TEST_CASE("Inputs are applied at their landmarks, in the log's order") {
    const std::vector<Record> log{
        scripted({0, 0}, kButton),    scripted({2, 0}, time_of(5)), scripted({2, 0}, kButton),
        scripted({2, 0}, time_of(6)), scripted({5, 0}, kButton),    mark_at(6),
    };
    Replay replay(log);
    CHECK(needs_records(replay.go()));
    REQUIRE(replay.machine.applied.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(replay.machine.applied[i].at == log[i].at);
        CHECK(replay.machine.applied[i].body == log[i].body);
    }
}

TEST_CASE("The guest runs to the last record's landmark, and no further before more is known") {
    Replay replay({mark_at(3)});
    CHECK(needs_records(replay.go()));
    CHECK(replay.machine.at.exits == 3);
    CHECK(replay.machine.runs == 3);
    CHECK(needs_records(replay.go()));
    CHECK(replay.machine.runs == 3);
    CHECK(replay.replayer.next() == Seq(1));
    CHECK(replay.replayer.pending() == 0);
    REQUIRE(replay.replayer.feed({Seq(1), {mark_at(4)}}));
    CHECK(needs_records(replay.go()));
    CHECK(replay.machine.at.exits == 4);
}

TEST_CASE("A checkpoint is loaded instead of a run, once all before it was done") {
    Replay replay({
        scripted({1, 0}, kButton),
        scripted({1, 1}, record::Checkpoint{std::vector<std::byte>(1)}),
        scripted({1, 1}, kButton),
        scripted({1, 2}, record::Checkpoint{std::vector<std::byte>(1)}),
        scripted({2, 2}, kButton),
    });
    CHECK(needs_records(replay.go()));
    CHECK(replay.machine.runs == 2);
    REQUIRE(replay.machine.applied.size() == 3);
    CHECK(replay.machine.applied[1].at == Landmark{1, 1});
    CHECK(replay.machine.applied[2].at == Landmark{2, 2});
}

TEST_CASE("Batches that leave something out are refused") {
    Replay replay({mark_at(1), mark_at(2)}, {.first = Seq(10)});
    const auto gap = replay.replayer.feed({Seq(13), {mark_at(3)}});
    REQUIRE(!gap);
    CHECK(gap.error().what() == "the log goes on with record 13, and 12 is the next one");
    CHECK(replay.replayer.feed({Seq(12), {mark_at(3)}}));
}

TEST_CASE("A life begins with a machine of its seed, and the next one behind a reset") {
    ScriptedMachine first;
    ScriptedMachine second;
    Replayer replayer;
    const Record power_on = scripted({}, record::PowerOn{std::vector<std::byte>(4)});
    REQUIRE(replayer.feed({Seq(0),
                           {power_on, scripted({1, 0}, kButton), end_at(2, EndKind::kTripleFault),
                            power_on, end_at(0, EndKind::kStopped)}}));
    auto step = replayer.step();
    REQUIRE(step);
    REQUIRE(std::holds_alternative<step::PowersOn>(*step));
    CHECK(std::get<step::PowersOn>(*step).record.rng_seed.size() == 4);
    replayer.power_on(first);
    first.script = {{}, {stop::Reset{.triple_fault = true}, 1, 1}};
    const auto next = [&] {
        do {
            step = replayer.step();
            REQUIRE(step);
        } while (std::holds_alternative<step::Progress>(*step));
    };
    next();
    REQUIRE(std::holds_alternative<step::Ended>(*step));
    CHECK(std::get<step::Ended>(*step).end.kind == EndKind::kTripleFault);
    CHECK(replayer.take_outputs().size() == 1);
    CHECK(replayer.outputs() == 1);
    next();
    REQUIRE(std::holds_alternative<step::PowersOn>(*step));
    replayer.power_on(second);
    CHECK(replayer.outputs() == 0);
    next();
    REQUIRE(std::holds_alternative<step::Ended>(*step));
    CHECK(std::get<step::Ended>(*step).end.kind == EndKind::kStopped);
    // Nothing comes behind the last end.
    next();
    CHECK(std::holds_alternative<step::Ended>(*step));
}

TEST_CASE("A log that begins in the middle of a life needs that life's machine") {
    Replayer replayer;
    REQUIRE(replayer.feed({Seq(0), {mark_at(3)}}));
    const auto step = replayer.step();
    REQUIRE(!step);
    CHECK(step.error().what().find("belongs to no life") != std::string::npos);
}

TEST_CASE("A kick is handed up, and the replay goes on behind it") {
    Replay replay({mark_at(2)});
    replay.machine.script = {{}, {stop::Kicked{}, 0}, {stop::Kicked{}, 0}};
    CHECK(std::holds_alternative<step::Kicked>(replay.go()));
    CHECK(std::holds_alternative<step::Kicked>(replay.go()));
    CHECK(needs_records(replay.go()));
    CHECK(replay.machine.at.exits == 2);
}

TEST_CASE("Outputs are handed out in order, and held against their marks") {
    Replay replay({scripted({1, 0}, record::OutputMark{8}), scripted({1, 0}, record::OutputMark{9}),
                   scripted({2, 0}, record::OutputMark{10})},
                  {.outputs = 7});
    replay.machine.script = {{stop::Exit{}, 1, 2}, {stop::Exit{}, 1, 1}};
    CHECK(needs_records(replay.go()));
    CHECK(replay.replayer.take_outputs().size() == 3);
    CHECK(replay.replayer.take_outputs().empty());
    CHECK(replay.replayer.outputs() == 10);
}

TEST_CASE("An output that an input brings about belongs to the input's landmark") {
    Replay replay({scripted({1, 0}, kButton), scripted({1, 0}, record::OutputMark{1})});
    CHECK(std::holds_alternative<step::Progress>(replay.step()));
    replay.machine.put_out(1);
    CHECK(needs_records(replay.go()));
}

}  // namespace ftvmm::replay
