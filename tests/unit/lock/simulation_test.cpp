// Hosts that contest a VM, for every seed; and sides that do it wrong are found out.
#include <string>

#include <catch2/catch.hpp>

#include "lock_world.h"

namespace ftvmm::lock::testing {
namespace {

constexpr std::uint64_t kSeeds = 1000;

std::string run(std::uint64_t seed, Mutant mutant = Mutant::kNone) {
    return LockWorld(seed, mutant).run().value_or("");
}

// How many of the first seeds find it out.
int found(Mutant mutant, std::uint64_t seeds) {
    int count = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed)
        if (!run(seed, mutant).empty()) ++count;
    return count;
}

}  // namespace

TEST_CASE("A generation has one owner and one side acts, whatever hosts and storage do") {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const std::string what = run(seed);
        CAPTURE(seed, what);
        REQUIRE(what.empty());
    }
}

TEST_CASE("The seeds cover what can come of an election, and every trouble") {
    LockCounts sum;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        LockWorld world(seed);
        (void)world.run();
        sum.cold_starts += world.counts().cold_starts;
        sum.elections_won += world.counts().elections_won;
        sum.elections_lost += world.counts().elections_lost;
        sum.published += world.counts().published;
        sum.own_claims_found += world.counts().own_claims_found;
        sum.ended += world.counts().ended;
        sum.started_after_end += world.counts().started_after_end;
        sum.superseded += world.counts().superseded;
        sum.late_effects += world.counts().late_effects;
        sum.crashes += world.counts().crashes;
    }
    CHECK(sum.cold_starts > 60);
    CHECK(sum.elections_won > 60);
    CHECK(sum.elections_lost > 60);
    CHECK(sum.published > 60);
    CHECK(sum.own_claims_found > 5);
    CHECK(sum.superseded > 5);
    CHECK(sum.ended > 60);
    CHECK(sum.started_after_end > 60);
    CHECK(sum.late_effects > 60);
    CHECK(sum.crashes > 60);
}

TEST_CASE("A side that takes EEXIST for success is found out") {
    CHECK(found(Mutant::kTakenIsWon, 60) > 40);
}

TEST_CASE("A side that uses a claim for two generations is found out") {
    CHECK(found(Mutant::kReusesGeneration, 60) > 40);
}

// What it takes is rare: a reply that is late by about a lease, as another host waits for it to
// end.
TEST_CASE("An owner whose lease counts from the end of a renewal is found out") {
    CHECK(found(Mutant::kLeaseFromReply, 1000) > 3);
}

TEST_CASE("An owner that does not look at the next generation is found out") {
    CHECK(found(Mutant::kDoesNotLook, 200) > 5);
}

TEST_CASE("A cold start that does not wait is found out") {
    CHECK(found(Mutant::kDoesNotWait, 60) > 40);
}

TEST_CASE("An owner that acts after its record says that it ended is found out") {
    CHECK(found(Mutant::kActsAfterEnd, 200) > 10);
}

}  // namespace ftvmm::lock::testing
