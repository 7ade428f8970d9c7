// Two sides that beat, for every seed; and sides that do it wrong are found out.
#include <string>

#include <catch2/catch.hpp>

#include "beat_world.h"

namespace ftvmm::heartbeat::testing {
namespace {

constexpr std::uint64_t kSeeds = 600;

std::string run(std::uint64_t seed, Mutant mutant = Mutant::kNone) {
    return BeatWorld(seed, mutant).run().value_or("");
}

// How many of the first seeds find it out.
int found(Mutant mutant, std::uint64_t seeds) {
    int count = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed)
        if (!run(seed, mutant).empty()) ++count;
    return count;
}

}  // namespace

TEST_CASE("The peer is dead when all paths are silent and never else, whatever the networks do") {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const std::string what = run(seed);
        CAPTURE(seed, what);
        REQUIRE(what.empty());
    }
}

TEST_CASE("The seeds cover every verdict, and every way in which a beat comes") {
    WorldCounts sum;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        BeatWorld world(seed);
        (void)world.run();
        for (const auto& [verdict, count] : world.counts().verdicts)
            sum.verdicts[verdict] += count;
        for (const auto& [refusal, count] : world.counts().refusals)
            sum.refusals[refusal] += count;
        sum.overtaken += world.counts().overtaken;
        sum.leases += world.counts().leases;
    }
    for (std::size_t verdict = 0; verdict < std::variant_size_v<Verdict>; ++verdict)
        CHECK(sum.verdicts[verdict] > 10);
    for (const Refusal refusal :
         {Refusal::kSize, Refusal::kForged, Refusal::kOld, Refusal::kRepeated}) {
        CAPTURE(name_of(refusal));
        CHECK(sum.refusals[refusal] > 100);
    }
    CHECK(sum.overtaken > 1000);
    CHECK(sum.leases > 1000);
}

TEST_CASE("A side for which one silent path is enough is found out") {
    CHECK(found(Mutant::kAnyPath, 60) > 20);
}

TEST_CASE("A side that does not notice its own stop is found out") {
    CHECK(found(Mutant::kUnawareOfGap, 60) > 20);
}

TEST_CASE("A side that blames the peer for its own stop is found out") {
    CHECK(found(Mutant::kBlamesForGap, 60) > 5);
}

TEST_CASE("A side that takes a beat twice is found out") {
    CHECK(found(Mutant::kNoWindow, 60) > 20);
}

TEST_CASE("A Primary whose lease begins when an answer comes is found out") {
    CHECK(found(Mutant::kLeaseFromReceipt, 60) > 5);
}

TEST_CASE("A Secondary that answers while it goes live is found out") {
    CHECK(found(Mutant::kAnswersAsItGoes, 60) > 5);
}

}  // namespace ftvmm::heartbeat::testing
