// The election, each reply by hand.
#include "lock/election_fsm.h"

#include "by_hand.h"

namespace ftvmm::lock {
namespace {

// An election whose claim is written and that is contested.
ElectionFsm contested() {
    ElectionFsm election(claim_of(1));
    CHECK(asked<request::WriteOwn>(election.take_request(at(0))).name == claim_file(claim_of(1)));
    election.step(reply::Done{}, at(0));
    CHECK(election.is_enrolled());
    CHECK(!election.take_request(at(0)));
    CHECK(election.retry_at() == Instant::max());
    election.contest();
    const auto link = asked<request::Link>(election.take_request(at(0)));
    CHECK(link.from == claim_file(claim_of(1)));
    CHECK(link.to == "gen-8");
    CHECK(!election.take_request(at(0)));
    return election;
}

bool has_won(const ElectionFsm& election) {
    return election.outcome() && std::holds_alternative<outcome::Won>(*election.outcome());
}

TEST_CASE("Whose claim is linked has won, and asks for nothing more") {
    auto election = contested();
    election.step(reply::Done{}, at(1));
    CHECK(has_won(election));
    CHECK(!election.take_request(at(1000)));
}

TEST_CASE("Where another's claim is, the election is lost and its owner known") {
    auto election = contested();
    election.step(reply::Taken{}, at(1));
    CHECK(!election.outcome());
    CHECK(asked<request::Read>(election.take_request(at(1))).name == "gen-8");
    election.step(reply::Content{encode_claim(claim_of(2))}, at(2));
    REQUIRE(election.outcome());
    CHECK(std::get<outcome::Lost>(*election.outcome()).owner == claim_of(2));
}

TEST_CASE("Who won the generation before is looked up first, however often that takes") {
    ElectionFsm election(claim_of(1), claim_of(2, 7).nonce);
    election.contest();
    CHECK(asked<request::Read>(election.take_request(at(0))).name == "gen-7");
    const Reply no_answer =
        GENERATE(Reply(reply::Unknown{"timed out"}), Reply(reply::Content{"garbage"}),
                 Reply(reply::Content{encode_claim(claim_of(2, 6))}), Reply(reply::Done{}));
    election.step(no_answer, at(1));
    CHECK(!election.outcome());
    CHECK(!election.is_enrolled());
    CHECK(!election.trouble().empty());
    CHECK(election.retry_at() == at(201));
    (void)asked<request::Read>(election.take_request(at(201)));
    election.step(reply::Content{encode_claim(claim_of(2, 7))}, at(202));
    (void)asked<request::WriteOwn>(election.take_request(at(202)));
    election.step(reply::Done{}, at(202));
    (void)asked<request::Link>(election.take_request(at(202)));
}

TEST_CASE("A link whose reply was lost is found to be one's own") {
    auto election = contested();
    election.step(reply::Unknown{"timed out"}, at(1));
    CHECK(!election.outcome());
    CHECK(election.trouble() == "timed out");
    CHECK(!election.take_request(at(200)));
    CHECK(election.retry_at() == at(201));
    (void)asked<request::Link>(election.take_request(at(201)));
    election.step(reply::Taken{}, at(202));
    (void)asked<request::Read>(election.take_request(at(202)));
    election.step(reply::Content{encode_claim(claim_of(1))}, at(203));
    CHECK(has_won(election));
}

TEST_CASE("What can not be read decides nothing") {
    auto election = contested();
    election.step(reply::Taken{}, at(1));
    int now = 1;
    for (const Reply& reply : {Reply(reply::Unknown{"EIO"}), Reply(reply::Content{"torn"}),
                               Reply(reply::Content{encode_claim(claim_of(1, 9))}),
                               Reply(reply::Done{}), Reply(reply::Newest{})}) {
        (void)asked<request::Read>(election.take_request(at(now)));
        election.step(reply, at(now));
        REQUIRE(!election.outcome());
        REQUIRE(!election.take_request(at(now + 199)));
        now += 200;
    }
    // Gone again, so it was none: the claim is linked anew.
    (void)asked<request::Read>(election.take_request(at(now)));
    election.step(reply::Missing{}, at(now));
    (void)asked<request::Link>(election.take_request(at(now + 200)));
}

TEST_CASE("A contest waits for the claim to be kept") {
    ElectionFsm election(claim_of(1));
    election.contest();
    (void)asked<request::WriteOwn>(election.take_request(at(0)));
    election.step(reply::Unknown{"EIO"}, at(0));
    (void)asked<request::WriteOwn>(election.take_request(at(200)));
    election.step(reply::Done{}, at(200));
    (void)asked<request::Link>(election.take_request(at(200)));
}

}  // namespace
}  // namespace ftvmm::lock
