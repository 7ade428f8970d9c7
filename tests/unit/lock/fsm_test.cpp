// The lease and the cold start, each reply by hand.
#include <string>
#include <variant>

#include <catch2/catch.hpp>

#include "by_hand.h"
#include "lock/cold_start_fsm.h"
#include "lock/lease_fsm.h"

namespace ftvmm::lock {
namespace {

using std::chrono::milliseconds;

OwnerRecord record_of(std::uint8_t who, std::uint64_t beat) {
    OwnerRecord record;
    record.generation = Generation(8);
    record.nonce.fill(who);
    record.beat = beat;
    return record;
}

TEST_CASE("A renewal counts from before its write, once nobody is seen behind it") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    CHECK(lease.holds_until() == Instant::min());
    const auto write = asked<request::WriteRecord>(lease.take_request(at(100)));
    CHECK(*decode_owner_record(write.content) == record_of(1, 1));
    lease.step(reply::Done{}, at(900));
    CHECK(lease.holds_until() == Instant::min());
    CHECK(asked<request::Read>(lease.take_request(at(900))).name == "gen-9");
    lease.step(reply::Missing{}, at(1500));
    CHECK(lease.holds_until() == at(27'100));
    CHECK(lease.retry_at() == at(5100));
    CHECK(!lease.take_request(at(5099)));
    // Its own next generation is no loss; a failure leaves what there was.
    (void)asked<request::WriteRecord>(lease.take_request(at(5100)));
    lease.step(reply::Unknown{"EIO"}, at(5200));
    CHECK(lease.holds_until() == at(27'100));
    const auto again = asked<request::WriteRecord>(lease.take_request(at(5400)));
    CHECK(*decode_owner_record(again.content) == record_of(1, 3));
    lease.step(reply::Done{}, at(5500));
    (void)lease.take_request(at(5500));
    lease.step(reply::Content{encode_claim(claim_of(2, 9))}, at(5600));
    // But whoever starts the VM looks at that one's record.
    CHECK(lease.holds_until() == at(27'100));
    const auto next = asked<request::WriteRecord>(lease.take_request(at(5600)));
    CHECK(next.name == "owner-9");
    CHECK(decode_owner_record(next.content)->generation == Generation(9));
    lease.step(reply::Done{}, at(5600));
    CHECK(asked<request::Read>(lease.take_request(at(5600))).name == "gen-10");
    // What it was told meanwhile changes nothing of that.
    lease.advance(claim_of(3, 10).nonce);
    lease.step(reply::Missing{}, at(5700));
    CHECK(lease.holds_until() == at(32'600));
}

TEST_CASE("Who has won the next generation does not count a renewal of the one before") {
    const bool is_looking = GENERATE(true, false);
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    CHECK(asked<request::WriteRecord>(lease.take_request(at(0))).name == "owner-8");
    if (is_looking) {
        lease.step(reply::Done{}, at(0));
        CHECK(asked<request::Read>(lease.take_request(at(0))).name == "gen-9");
    }
    lease.advance(claim_of(3, 10).nonce);
    lease.step(is_looking ? Reply(reply::Missing{}) : Reply(reply::Done{}), at(10));
    CHECK(lease.holds_until() == Instant::min());
    CHECK(asked<request::WriteRecord>(lease.take_request(at(10))).name == "owner-9");
}

TEST_CASE("Who has won the next generation looks behind that") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    (void)lease.take_request(at(0));
    lease.step(reply::Done{}, at(0));
    CHECK(asked<request::Read>(lease.take_request(at(0))).name == "gen-9");
    lease.advance(claim_of(3, 10).nonce);
    lease.step(reply::Missing{}, at(10));
    (void)lease.take_request(at(10));
    lease.step(reply::Done{}, at(10));
    CHECK(asked<request::Read>(lease.take_request(at(10))).name == "gen-10");
    lease.step(reply::Missing{}, at(20));
    CHECK(lease.holds_until() == at(27'010));
    const auto write = asked<request::WriteRecord>(lease.take_request(at(5010)));
    CHECK(decode_owner_record(write.content)->generation == Generation(9));
    lease.step(reply::Done{}, at(5010));
    // Another's claim on the one behind its own.
    (void)lease.take_request(at(5010));
    lease.step(reply::Content{encode_claim(claim_of(3, 10))}, at(5010));
    (void)lease.take_request(at(5010));
    lease.step(reply::Done{}, at(5010));
    CHECK(asked<request::Read>(lease.take_request(at(5010))).name == "gen-11");
    lease.step(reply::Content{encode_claim(claim_of(4, 11))}, at(5010));
    CHECK(lease.superseded_by() == claim_of(4, 11));
}

TEST_CASE("Who sees another behind it holds nothing any more") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    (void)lease.take_request(at(0));
    lease.step(reply::Done{}, at(0));
    (void)lease.take_request(at(0));
    lease.step(reply::Missing{}, at(0));
    REQUIRE(lease.holds_until() > at(5000));
    (void)lease.take_request(at(5000));
    lease.step(reply::Done{}, at(5000));
    (void)lease.take_request(at(5000));
    lease.step(reply::Content{"torn"}, at(5000));
    CHECK(lease.holds_until() == at(27'000));
    (void)lease.take_request(at(5200));
    lease.step(reply::Done{}, at(5200));
    (void)lease.take_request(at(5200));
    lease.step(reply::Content{encode_claim(claim_of(3, 9))}, at(5200));
    CHECK(lease.superseded_by() == claim_of(3, 9));
    CHECK(lease.holds_until() == Instant::min());
    CHECK(!lease.take_request(at(90'000)));
}

OwnerRecord ended(OwnerRecord record) {
    record.ended = true;
    return record;
}

TEST_CASE("Who has ended says so once, holds nothing from then on, and never asks again") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    (void)lease.take_request(at(0));
    lease.step(reply::Done{}, at(0));
    (void)lease.take_request(at(0));
    lease.step(reply::Missing{}, at(0));
    REQUIRE(lease.holds_until() > at(0));
    lease.end();
    CHECK(lease.holds_until() == Instant::min());
    CHECK(!lease.has_ended());
    // At once, not when the next renewal would be.
    CHECK(lease.retry_at() <= at(10));
    auto write = asked<request::WriteRecord>(lease.take_request(at(10)));
    CHECK(*decode_owner_record(write.content) == ended(record_of(1, 2)));
    SECTION("and the storage has it") {
        lease.step(reply::Done{}, at(20));
    }
    SECTION("and the storage has it after a failure") {
        lease.step(reply::Unknown{"EIO"}, at(20));
        CHECK(!lease.has_ended());
        CHECK(lease.retry_at() == at(220));
        write = asked<request::WriteRecord>(lease.take_request(at(220)));
        CHECK(*decode_owner_record(write.content) == ended(record_of(1, 3)));
        lease.step(reply::Done{}, at(230));
    }
    CHECK(lease.has_ended());
    CHECK(lease.holds_until() == Instant::min());
    CHECK(lease.retry_at() == Instant::max());
    CHECK(!lease.take_request(at(90'000)));
}

TEST_CASE("A renewal under way at the end counts no more, and the last write comes behind it") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    (void)asked<request::WriteRecord>(lease.take_request(at(0)));
    SECTION("as it is written") {
        lease.end();
        CHECK(!lease.take_request(at(0)));
        const bool is_done = GENERATE(true, false);
        lease.step(is_done ? Reply(reply::Done{}) : Reply(reply::Unknown{"EIO"}), at(10));
    }
    SECTION("as it looks") {
        lease.step(reply::Done{}, at(0));
        (void)asked<request::Read>(lease.take_request(at(0)));
        lease.end();
        lease.step(reply::Missing{}, at(10));
    }
    CHECK(lease.holds_until() == Instant::min());
    const auto write = asked<request::WriteRecord>(lease.take_request(at(10)));
    CHECK(decode_owner_record(write.content)->ended);
    lease.step(reply::Done{}, at(20));
    CHECK(lease.has_ended());
}

TEST_CASE("Who was superseded has nothing to end") {
    LeaseFsm lease(record_of(1, 0), claim_of(2, 9).nonce, {});
    (void)lease.take_request(at(0));
    lease.step(reply::Done{}, at(0));
    (void)lease.take_request(at(0));
    lease.step(reply::Content{encode_claim(claim_of(3, 9))}, at(0));
    lease.end();
    CHECK(!lease.take_request(at(90'000)));
    CHECK(!lease.has_ended());
}

// A cold start that has the lock and knows that generation 7 is the newest.
ColdStartFsm locked() {
    ColdStartFsm start(claim_of(1, 1), {});
    (void)asked<request::TakeLock>(start.take_request(at(0)));
    start.step(reply::Taken{}, at(0));
    CHECK(start.waits_for() == "another host holds the lock");
    CHECK(!start.take_request(at(199)));
    (void)asked<request::TakeLock>(start.take_request(at(200)));
    start.step(reply::Done{}, at(200));
    (void)asked<request::FindNewest>(start.take_request(at(200)));
    start.step(reply::Newest{Generation(7)}, at(200));
    CHECK(start.mine().generation == Generation(8));
    return start;
}

// Looks each time that it wants to, from `from` on, until it wants something else; when that is.
int watch(ColdStartFsm& start, int from, const std::string& text) {
    Instant now = at(from);
    while (true) {
        now = std::max(now, start.retry_at());
        const auto request = start.take_request(now);
        if (!std::holds_alternative<request::Read>(*request)) {
            // The claim of the election.
            start.step(reply::Done{}, now);
            return static_cast<int>(now.time_since_epoch() / milliseconds(1));
        }
        start.step(reply::Content{text}, now);
    }
}

TEST_CASE("A cold start waits for a lease of an unchanged record, then takes the next generation") {
    auto start = locked();
    (void)start.take_request(at(1000));
    start.step(reply::Content{"another"}, at(1500));
    CHECK(start.waits_for() == "an owner that may live");
    CHECK(watch(start, 2000, "same") == 34'500);
    CHECK(asked<request::Link>(start.take_request(at(34'500))).to == "gen-8");
    start.step(reply::Done{}, at(34'500));
    CHECK(!start.outcome());
    SECTION("and starts") {
        (void)asked<request::Read>(start.take_request(at(34'500)));
        start.step(reply::Content{"same"}, at(34'500));
        REQUIRE(start.outcome());
        CHECK(std::holds_alternative<outcome::Won>(*start.outcome()));
    }
    SECTION("and lets the lease of who lived after all end") {
        (void)asked<request::Read>(start.take_request(at(34'500)));
        start.step(reply::Content{"other"}, at(34'600));
        CHECK(start.retry_at() == at(64'500));
        start.tick(at(64'499));
        CHECK(!start.outcome());
        start.tick(at(64'500));
        CHECK(start.outcome());
    }
}

TEST_CASE("A look that took long is worth what it was when it began") {
    auto start = locked();
    (void)start.take_request(at(1000));
    start.step(reply::Content{"same"}, at(2000));
    (void)start.take_request(at(5000));
    start.step(reply::Content{"same"}, at(50'000));
    (void)asked<request::Read>(start.take_request(at(50'000)));
    start.step(reply::Content{"same"}, at(50'000));
    (void)asked<request::WriteOwn>(start.take_request(at(50'000)));
}

TEST_CASE("What never ran starts at once, and what ran without a record does not") {
    ColdStartFsm start(claim_of(1, 1), {});
    (void)start.take_request(at(0));
    start.step(reply::Done{}, at(0));
    (void)start.take_request(at(0));
    const std::uint64_t newest = GENERATE(0U, 1U);
    start.step(reply::Newest{Generation(newest)}, at(0));
    (void)start.take_request(at(0));
    start.step(reply::Missing{}, at(0));
    const auto next = start.take_request(std::max(at(0), start.retry_at()));
    REQUIRE(next);
    CHECK(std::holds_alternative<request::WriteOwn>(*next) == (newest == 0));
}

std::string record_text(std::uint64_t generation, bool has_ended) {
    OwnerRecord record = record_of(5, 40);
    record.generation = Generation(generation);
    record.ended = has_ended;
    return encode_owner_record(record);
}

TEST_CASE("A cold start does not wait for an owner that ended, and looks at it once more") {
    auto start = locked();
    (void)asked<request::Read>(start.take_request(at(200)));
    start.step(reply::Content{record_text(7, true)}, at(210));
    (void)asked<request::WriteOwn>(start.take_request(at(210)));
    start.step(reply::Done{}, at(220));
    (void)asked<request::Link>(start.take_request(at(220)));
    start.step(reply::Done{}, at(230));
    CHECK(!start.outcome());
    (void)asked<request::Read>(start.take_request(at(230)));
    SECTION("and starts where it is still the last word") {
        start.step(reply::Content{record_text(7, true)}, at(240));
        CHECK(start.outcome());
    }
    SECTION("and waits where it is not") {
        start.step(reply::Content{record_text(7, false)}, at(240));
        CHECK(!start.outcome());
        CHECK(start.retry_at() == at(30'230));
    }
}

TEST_CASE("The end of another generation than the newest shortens nothing") {
    auto start = locked();
    const std::uint64_t generation = GENERATE(6U, 8U);
    CHECK(watch(start, 200, record_text(generation, true)) == 30'200);
}

TEST_CASE("The end of another VM, or a record that runs, shortens nothing") {
    auto start = locked();
    OwnerRecord other = record_of(5, 40);
    other.generation = Generation(7);
    other.ended = true;
    other.vm.fill(9);
    const std::string text = GENERATE_COPY(record_text(7, false), encode_owner_record(other));
    CHECK(watch(start, 200, text) == 30'200);
}

TEST_CASE("A cold start that another host was faster in is lost") {
    auto start = locked();
    (void)watch(start, 0, "same");
    (void)asked<request::Link>(start.take_request(at(31'000)));
    start.step(reply::Taken{}, at(31'000));
    (void)asked<request::Read>(start.take_request(at(31'000)));
    start.step(reply::Content{encode_claim(claim_of(2))}, at(31'000));
    REQUIRE(start.outcome());
    CHECK(std::holds_alternative<outcome::Lost>(*start.outcome()));
}

TEST_CASE("Times that leave no room for a renewal that fails are refused") {
    CHECK(LeaseTimes{}.check());
    CHECK(LeaseTimes::of(milliseconds(30'000)) == LeaseTimes{});
    CHECK(LeaseTimes::of(milliseconds(5000)).check());
    CHECK(!LeaseTimes{.margin = milliseconds(0)}.check());
    CHECK(!LeaseTimes{.renew = milliseconds(0)}.check());
    CHECK(!LeaseTimes{.renew = milliseconds(9001)}.check());
}

}  // namespace
}  // namespace ftvmm::lock
