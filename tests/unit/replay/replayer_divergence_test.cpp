// How a Replayer finds out that the log and the guest do not agree.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/replayer.h"
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

TEST_CASE("A digest that differs is divergence at the first record that has one") {
    Replay replay({mark_at(1), scripted({2, 0}, kButton)});
    replay.machine.odd = 0x10;
    const auto divergence = replay.divergence();
    CHECK(divergence.kind == DivergenceKind::kDigest);
    CHECK(divergence.where == Landmark{1, 0});
    CHECK(divergence.seq == Seq(0));
    CHECK(replay.machine.applied.empty());
}

TEST_CASE("A digest that differs in its high bits alone is seen at a mark and at an end") {
    Replay at_mark({scripted({1, 0}, kButton), mark_at(1)});
    at_mark.machine.odd = 0x1'0000;
    CHECK(at_mark.divergence().seq == Seq(1));
    Replay at_end({scripted({1, 0}, kButton), end_at(1, EndKind::kStopped)});
    at_end.machine.odd = 0x1'0000;
    CHECK(at_end.divergence().seq == Seq(1));
}

TEST_CASE("The first difference lies behind the last record at which the digests agreed") {
    Record odd = mark_at(9);
    odd.digest ^= 1U;
    auto divergence = Replay({mark_at(2), mark_at(5), odd}).divergence();
    CHECK(divergence.agreed == Agreement{{5, 0}, Seq(1)});
    CHECK(describe_first_difference(divergence) ==
          "the first difference lies behind exit 5 (record 1), up to which the digests agree, and "
          "at exit 9 at the latest");

    // All of the digest counts where a record holds all of it: what its low bits say is no
    // agreement that hides it.
    Record odd_mark = mark_at(6);
    std::get<record::Mark>(odd_mark.body).digest ^= std::uint64_t{1} << 60U;
    divergence = Replay({mark_at(5), odd_mark}).divergence();
    CHECK(divergence.agreed == Agreement{{5, 0}, Seq(0)});
    CHECK(describe_first_difference(divergence) ==
          "the first difference is exit 6: the digests agree up to exit 5 (record 0)");

    CHECK_FALSE(Replay({odd}).divergence().agreed);
    CHECK(describe_first_difference(Replay({odd}).divergence()) ==
          "the digests never agreed in this life: the first difference lies at exit 9 at the "
          "latest");
}

TEST_CASE("A checkpoint that is loaded is a place at which the digests agreed") {
    Record odd = scripted({9, 1}, kButton);
    odd.digest ^= 1U;
    const auto checkpoint = scripted({5, 1}, record::Checkpoint{std::vector<std::byte>(1)});
    CHECK(Replay({checkpoint, odd}).divergence().agreed == Agreement{{5, 1}, Seq(0)});
}

TEST_CASE("Where something else than an exit differs, the digests agree up to there") {
    const auto log = {mark_at(1), scripted({1, 0}, record::Audit{1})};
    const auto divergence = Replay(log).divergence();
    CHECK(divergence.kind == DivergenceKind::kMemory);
    CHECK(describe_first_difference(divergence) ==
          "the digests agree up to exit 1 (record 1), where the guest stands: no exit differs "
          "before that");
}

TEST_CASE("What agreed in one life says nothing about the next") {
    ScriptedMachine first;
    ScriptedMachine second;
    Replayer replayer;
    Record odd = scripted({}, record::PowerOn{});
    odd.digest ^= 1U;
    REQUIRE(replayer.feed(
        {Seq(0), {scripted({}, record::PowerOn{}), end_at(2, EndKind::kTripleFault), odd}}));
    first.script = {{stop::Exit{}}, {stop::Reset{.triple_fault = true}}};
    for (ScriptedMachine* machine : {&first, &second}) {
        auto step = replayer.step();
        while (step && !std::holds_alternative<step::PowersOn>(*step))
            step = replayer.step();
        REQUIRE(step);
        replayer.power_on(*machine);
        CHECK_FALSE(replayer.agreed());
    }
    const auto step = replayer.step();
    REQUIRE(step);
    REQUIRE(std::holds_alternative<step::Diverged>(*step));
    CHECK_FALSE(std::get<step::Diverged>(*step).divergence.agreed);
}

TEST_CASE("An exit that is not the traced one is divergence, though the digest agrees by chance") {
    ExitFacts exit{ExitReason::kIn, 0x60, 1, {}};
    exit.registers.fill(7);
    const auto kind_with =
        [&](const std::optional<ExitFacts>& is) -> std::optional<DivergenceKind> {
        Replay replay({scripted({1, 0}, record::Trace{exit}), mark_at(2)});
        replay.machine.exit = is;
        const Step last = replay.go();
        if (needs_records(last)) return std::nullopt;
        return std::get<step::Diverged>(last).divergence.kind;
    };
    CHECK_FALSE(kind_with(exit));
    // A machine that does not tell is held against the digest alone.
    CHECK_FALSE(kind_with(std::nullopt));
    ExitFacts other = exit;
    other.where = 0x64;
    CHECK(kind_with(other) == DivergenceKind::kExit);
    for (std::size_t i = 0; i < kCpuRegisterNames.size(); ++i) {
        CAPTURE(kCpuRegisterNames.at(i));
        other = exit;
        other.registers.at(i) ^= 1;
        CHECK((kind_with(other) == DivergenceKind::kExit) == (i < kDigestedRegisters));
    }
    // RFLAGS.RF is no digest's affair.
    other = exit;
    other.registers.at(kRflags) ^= 1U << 16U;
    CHECK_FALSE(kind_with(other));
}

TEST_CASE("Memory that differs is divergence, unless nobody compares it") {
    const std::vector<Record> log{scripted({1, 0}, record::Audit{0x4444}), mark_at(2)};
    CHECK(Replay(log).divergence().kind == DivergenceKind::kMemory);
    CHECK(needs_records(Replay(log, {.compare_audits = false}).go()));
}

TEST_CASE("A guest that reads a clock where the log holds no time has diverged") {
    const std::vector<Record> log{scripted({1, 0}, kButton), mark_at(2)};
    Replay replay(log);
    replay.machine.script = {{stop::NeedsTime{}}};
    CHECK(replay.divergence().kind == DivergenceKind::kNeedsTime);
    CHECK(replay.machine.runs == 1);
    Replay given({scripted({1, 0}, kButton), scripted({1, 0}, time_of(1)), mark_at(2)});
    given.machine.script = {{stop::NeedsTime{}}};
    CHECK(needs_records(given.go()));
}

TEST_CASE("A guest that waits where the log holds nothing that wakes it has diverged") {
    Replay replay({mark_at(1), mark_at(2)});
    replay.machine.script = {{stop::Halted{}}};
    CHECK(replay.divergence().kind == DivergenceKind::kHalted);
    CHECK(replay.machine.runs == 1);
    // What the log holds does not wake it.
    Replay asleep({scripted({1, 0}, time_of(1)), mark_at(2)});
    asleep.machine.script = {{stop::Halted{}}, {stop::Halted{}, 0}};
    const auto divergence = asleep.divergence();
    CHECK(divergence.kind == DivergenceKind::kHalted);
    CHECK(divergence.where == Landmark{1, 0});
    CHECK(asleep.machine.runs == 2);
}

TEST_CASE("A guest that runs past a record has diverged") {
    Replay replay({mark_at(1)});
    replay.machine.script = {{stop::Exit{}, 2}};
    CHECK(replay.divergence().kind == DivergenceKind::kOvershot);
    // One that lies before where the replay begins.
    Replay behind({mark_at(1)});
    behind.machine.at.exits = 4;
    CHECK(behind.divergence().kind == DivergenceKind::kOvershot);
}

TEST_CASE("A guest that ends before the log, or otherwise, has diverged") {
    Replay goes_on({mark_at(1), mark_at(2)});
    goes_on.machine.script = {{stop::PoweredOff{}}};
    CHECK(goes_on.divergence().kind == DivergenceKind::kEnded);
    Replay is_given({scripted({1, 0}, kButton)});
    is_given.machine.script = {{stop::Reset{}}};
    CHECK(is_given.divergence().kind == DivergenceKind::kEnded);
    CHECK(is_given.machine.applied.empty());
    for (const auto kind :
         {EndKind::kReset, EndKind::kTripleFault, EndKind::kStopped, EndKind::kCrashed}) {
        Replay otherwise({end_at(1, kind)});
        otherwise.machine.script = {{stop::PoweredOff{}}};
        CHECK(otherwise.divergence().kind == DivergenceKind::kEnded);
    }
    Replay loads({scripted({1, 1}, record::Checkpoint{std::vector<std::byte>(1)})});
    loads.machine.script = {{stop::PoweredOff{}}};
    CHECK(loads.divergence().kind == DivergenceKind::kEnded);
}

TEST_CASE("A guest that has ended waits for the record that says so") {
    Replay replay({mark_at(1)});
    replay.machine.script = {{stop::PoweredOff{}}};
    CHECK(needs_records(replay.go()));
    REQUIRE(replay.replayer.feed({Seq(1), {mark_at(1), end_at(1, EndKind::kPoweredOff)}}));
    CHECK(std::holds_alternative<step::Ended>(replay.go()));
    CHECK(replay.machine.runs == 1);
}

TEST_CASE("A guest that goes on where the log ends by itself has diverged") {
    for (const auto kind : {EndKind::kPoweredOff, EndKind::kReset, EndKind::kTripleFault})
        CHECK(Replay({end_at(1, kind)}).divergence().kind == DivergenceKind::kWentOn);
    CHECK(Replay({mark_at(1), scripted({}, record::PowerOn{})}).divergence().kind ==
          DivergenceKind::kWentOn);
}

TEST_CASE("A host that gives up has diverged, but where the log's host did too") {
    Replay crashes({mark_at(2)});
    crashes.machine.script = {{stop::Crashed{"a triple bus fault"}}};
    auto divergence = crashes.divergence();
    CHECK(divergence.kind == DivergenceKind::kCrashed);
    CHECK(divergence.guest_did.find("a triple bus fault") != std::string::npos);
    Replay fails({mark_at(2)});
    fails.machine.script = {{fail("KVM_RUN: no memory"), 0}};
    divergence = fails.divergence();
    CHECK(divergence.kind == DivergenceKind::kCrashed);
    CHECK(divergence.guest_did.find("KVM_RUN: no memory") != std::string::npos);
    Replay both({end_at(1, EndKind::kCrashed)});
    both.machine.script = {{stop::Crashed{"a triple bus fault"}}};
    CHECK(std::holds_alternative<step::Ended>(both.go()));
    // What made the recording host give up need not be here.
    Replay sound({end_at(1, EndKind::kCrashed)});
    CHECK(std::holds_alternative<step::Ended>(sound.go()));
}

TEST_CASE("A checkpoint that can not be loaded, or leads elsewhere, is divergence") {
    const auto checkpoint = [](Landmark at, std::size_t bytes) {
        return scripted(at, record::Checkpoint{std::vector<std::byte>(bytes)});
    };
    const auto broken = Replay({checkpoint({1, 1}, 0)}).divergence();
    CHECK(broken.kind == DivergenceKind::kCheckpoint);
    CHECK(broken.guest_did == "it is no state");
    CHECK(Replay({checkpoint({1, 1}, 2)}).divergence().kind == DivergenceKind::kCheckpoint);
    CHECK(Replay({checkpoint({1, 2}, 1)}).divergence().kind == DivergenceKind::kCheckpoint);
    CHECK(Replay({checkpoint({1, 0}, 1)}).divergence().kind == DivergenceKind::kCheckpoint);
    CHECK(Replay({scripted({1, 1}, kButton)}).divergence().kind == DivergenceKind::kCheckpoint);
    // A guest that came another way is not taken to where the log's was.
    Replay other({checkpoint({1, 1}, 1)});
    other.machine.odd = 1;
    CHECK(other.divergence().kind == DivergenceKind::kDigest);
    CHECK(other.machine.at == Landmark{1, 0});
}

TEST_CASE("An output that was not made, or made before its mark, is divergence") {
    Replay missing({scripted({1, 0}, record::OutputMark{1})});
    CHECK(missing.divergence().kind == DivergenceKind::kOutput);
    Replay early({scripted({2, 0}, record::OutputMark{1})});
    early.machine.script = {{stop::Exit{}, 1, 1}};
    CHECK(early.divergence().kind == DivergenceKind::kOutput);
    Replay before_checkpoint({
        scripted({1, 1}, record::Checkpoint{std::vector<std::byte>(1)}),
        scripted({1, 1}, record::OutputMark{1}),
    });
    before_checkpoint.machine.script = {{stop::Exit{}, 1, 1}};
    CHECK(before_checkpoint.divergence().kind == DivergenceKind::kOutput);
}

TEST_CASE("A replay that has diverged does no more, and says so in a paragraph") {
    Replay replay({scripted({1, 0}, record::Packet{3, std::vector<std::byte>(60)}), mark_at(2)});
    replay.machine.script = {{stop::PoweredOff{}}};
    const auto first = replay.divergence();
    CHECK(replay.divergence().seq == first.seq);
    CHECK(replay.machine.runs == 1);
    CHECK(describe(first) ==
          "the replay diverged at exit 1 (ended): record 0 of the log is: packet of 60 bytes for "
          "card 3 at exit 1; but the guest ended at exit 1 (powered off). From here on the guest "
          "does not do what was recorded.");
}

}  // namespace ftvmm::replay
