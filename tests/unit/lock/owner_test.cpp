// One process, each answer by hand.
#include "lock/owner.h"

#include <set>

#include <catch2/catch.hpp>

namespace ftvmm::lock {
namespace {

using std::chrono::milliseconds;

Instant at(int ms) {
    return Instant(milliseconds(ms));
}

struct Process {
    SeededEntropy entropy{1};
    Owner owner{{.vm = {}, .host = "alpha", .boot_id = "boot"}, {}, entropy};

    // The next request, which is of that kind.
    template <class Kind>
    std::pair<std::uint64_t, Kind> asked(int now) {
        const auto asked = owner.take_request(at(now));
        REQUIRE(asked);
        REQUIRE(std::holds_alternative<Kind>(asked->request));
        return {asked->id, std::get<Kind>(asked->request)};
    }
    template <class Kind>
    void answer(int now, const Reply& reply) {
        owner.step(asked<Kind>(now).first, reply, at(now));
    }
    // For generation 8, on the storage where 7 was won.
    void bid() {
        owner.bid(Generation(8), {7});
        answer<request::Read>(0, reply::Content{encode_claim(claim_of_7({7}))});
    }
    static Claim claim_of_7(const Nonce& nonce) {
        return {.generation = Generation(7), .nonce = nonce, .host = "beta", .boot_id = "boot"};
    }
    // With a claim for generation 8 that has won.
    void win() {
        bid();
        answer<request::WriteOwn>(0, reply::Done{});
        owner.contest();
        answer<request::Link>(0, reply::Done{});
        REQUIRE(owner.take_outcome());
    }
};

TEST_CASE("Who wins writes a claim for the next generation, renews, and asks for the lock") {
    Process process;
    process.win();
    CHECK(process.owner.generation() == Generation(8));
    CHECK(process.owner.holds_until() == Instant::min());
    CHECK(process.asked<request::WriteOwn>(0).second.name.starts_with("claim-9-"));
    const auto [id, write] = process.asked<request::WriteRecord>(0);
    CHECK(decode_owner_record(write.content)->generation == Generation(8));
    process.answer<request::TakeLock>(0, reply::Taken{});
    CHECK(!process.owner.take_request(at(999)));
    CHECK(process.owner.retry_at() == at(1000));
    process.answer<request::TakeLock>(1000, reply::Done{});
    CHECK(process.owner.has_lock());
    CHECK(!process.owner.take_request(at(3000)));
}

TEST_CASE("No claim is used twice, and the answer about one that was given up is let go") {
    Process process;
    std::set<std::string> names;
    std::uint64_t id = 0;
    for (int i = 0; i < 10; ++i) {
        process.bid();
        const auto [of, write] = process.asked<request::WriteOwn>(0);
        CHECK(names.insert(write.name).second);
        if (i == 0) id = of;
    }
    process.owner.step(id, reply::Done{}, at(0));
    process.owner.contest();
    // The last one is yet to be kept.
    CHECK(!process.owner.take_request(at(0)));
}

TEST_CASE("A bid stands once its claim is kept, behind a look at who won the generation before") {
    Process process;
    process.owner.bid(Generation(8), {7});
    CHECK(process.owner.bid_stands() == false);
    CHECK(process.asked<request::Read>(0).second.name == "gen-7");
    process.owner.bid(Generation(8), {7});
    process.answer<request::Read>(0, reply::Content{encode_claim(Process::claim_of_7({7}))});
    CHECK(process.owner.bid_stands() == false);
    process.answer<request::WriteOwn>(0, reply::Done{});
    CHECK(process.owner.bid_stands() == true);
}

TEST_CASE("Who bids on another storage than that of its Primary never links its claim") {
    const Reply found = GENERATE(Reply(reply::Missing{}),
                                 Reply(reply::Content{encode_claim(Process::claim_of_7({8}))}));
    const bool is_contested_before = GENERATE(true, false);
    Process process;
    process.owner.bid(Generation(8), {7});
    if (is_contested_before) process.owner.contest();
    process.answer<request::Read>(0, found);
    const auto stands = process.owner.bid_stands();
    REQUIRE_FALSE(stands);
    CHECK_THAT(stands.error().what(), Catch::Contains("gen-7 is"));
    CHECK(process.owner.has_outcome() == is_contested_before);
    if (!is_contested_before) process.owner.contest();
    const auto outcome = process.owner.take_outcome();
    REQUIRE(outcome);
    CHECK(std::holds_alternative<outcome::Elsewhere>(*outcome));
    CHECK(process.owner.generation() == Generation());
    CHECK(!process.owner.take_request(at(90'000)));
}

TEST_CASE("Who is superseded owns nothing any more, and a contest of its own is lost") {
    Process process;
    process.win();
    process.answer<request::WriteOwn>(0, reply::Done{});
    process.answer<request::WriteRecord>(0, reply::Done{});
    Claim other{.generation = Generation(9), .host = "beta", .boot_id = "boot"};
    process.answer<request::Read>(0, reply::Content{encode_claim(other)});
    CHECK(process.owner.generation() == Generation(0));
    CHECK(process.owner.superseded_by() == other);
    process.owner.contest();
    process.answer<request::Link>(0, reply::Taken{});
    process.answer<request::Read>(0, reply::Content{encode_claim(other)});
    const auto outcome = process.owner.take_outcome();
    REQUIRE(outcome);
    CHECK(std::holds_alternative<outcome::Lost>(*outcome));
    CHECK(!process.owner.has_bid());
    CHECK(!process.owner.take_request(at(90'000)));
}

TEST_CASE("An owner that loses the next generation stops to renew at once") {
    Process process;
    process.win();
    process.answer<request::WriteOwn>(0, reply::Done{});
    process.answer<request::WriteRecord>(0, reply::Done{});
    process.answer<request::Read>(0, reply::Missing{});
    process.answer<request::TakeLock>(0, reply::Done{});
    REQUIRE(process.owner.holds_until() > at(0));
    process.owner.contest();
    process.answer<request::Link>(10, reply::Taken{});
    const Claim other{.generation = Generation(9), .host = "beta", .boot_id = "boot"};
    process.answer<request::Read>(10, reply::Content{encode_claim(other)});
    CHECK(process.owner.holds_until() == Instant::min());
    CHECK(process.owner.superseded_by() == other);
    CHECK(!process.owner.take_request(at(90'000)));
}

TEST_CASE("Who ends writes its last record and asks for nothing more") {
    Process process;
    process.win();
    process.owner.end();
    CHECK(!process.owner.has_ended());
    const auto [id, write] = process.asked<request::WriteRecord>(0);
    CHECK(decode_owner_record(write.content)->ended);
    process.owner.step(id, reply::Done{}, at(0));
    CHECK(process.owner.has_ended());
    CHECK(!process.owner.take_request(at(90'000)));
    CHECK(process.owner.retry_at() == Instant::max());
}

}  // namespace
}  // namespace ftvmm::lock
