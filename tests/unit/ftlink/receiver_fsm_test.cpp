// The Secondary's end of the link.
#include "ftlink/receiver_fsm.h"

#include "support.h"

namespace ftvmm::ftlink::testing {
namespace {

using Catch::Matchers::Contains;
using replay::Seq;

Result<void> give(ReceiverFsm& receiver, const replay::ClosedBatch& batch, Instant now) {
    return receiver.step({FrameKind::kBatch, batch.bytes}, now);
}

Result<void> give(ReceiverFsm& receiver, const Control& control, Instant now) {
    return receiver.step({FrameKind::kControl, encode(control)}, now);
}

constexpr Control kProbe{};
constexpr Control kGoodbye{ControlKind::kGoodbye, GoodbyeReason::kHandsOver};

// The one ack that is taken at `now`.
Ack take_ack(ReceiverFsm& receiver, Instant now) {
    REQUIRE(receiver.has_frames());
    const auto frames = receiver.take_frames(now);
    REQUIRE(frames.size() == 1);
    const auto ack = decode_ack(frames[0].payload);
    REQUIRE(ack);
    CHECK(!receiver.has_frames());
    return *ack;
}

std::uint64_t records_of(const std::vector<replay::Batch>& batches) {
    std::uint64_t count = 0;
    for (const auto& batch : batches)
        count += batch.records.size();
    return count;
}

}  // namespace

TEST_CASE("A batch is acked when it has come, before it is replayed") {
    ReceiverFsm receiver(Seq(10), at_ms(0));
    CHECK(!receiver.has_frames());
    REQUIRE(give(receiver, batch_of(10, 3), at_ms(1)));
    const auto ack = take_ack(receiver, at_ms(2));
    CHECK(ack.next_received == Seq(13));
    CHECK(ack.next_replayed == Seq(10));
    CHECK(ack.answers == MessageNumber(1));
    CHECK(ack.verdict == Verdict::kAgrees);
    const auto batches = receiver.take_batches();
    CHECK(records_of(batches) == 3);
    CHECK(receiver.take_batches().empty());
}

TEST_CASE("A packed batch is as good as one that is not") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    auto batch = batch_of(0, 3, 1000);
    batch.bytes = replay::BatchPacker().pack(std::move(batch.bytes));
    REQUIRE(give(receiver, batch, at_ms(1)));
    CHECK(records_of(receiver.take_batches()) == 3);
}

TEST_CASE("One ack stands for all that came until it is taken") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    REQUIRE(give(receiver, batch_of(0, 3), at_ms(1)));
    REQUIRE(give(receiver, batch_of(3, 2), at_ms(1)));
    REQUIRE(give(receiver, kProbe, at_ms(1)));
    const auto ack = take_ack(receiver, at_ms(1));
    CHECK(ack.next_received == Seq(5));
    CHECK(ack.answers == MessageNumber(3));
}

TEST_CASE("A record that is missing or comes twice breaks the link, and what came before counts") {
    for (const std::uint64_t first : {2U, 4U}) {
        ReceiverFsm receiver(Seq(0), at_ms(0));
        REQUIRE(give(receiver, batch_of(0, 3), at_ms(1)));
        CHECK_THAT(error_of(give(receiver, batch_of(first, 3), at_ms(2))),
                   Contains("and 3 is the next one"));
        CHECK(!receiver.has_frames());
        CHECK(receiver.next_received() == Seq(3));
        CHECK(records_of(receiver.take_batches()) == 3);
        CHECK_THAT(error_of(give(receiver, batch_of(3, 3), at_ms(3))), Contains("is broken"));
        receiver.replayed(Seq(3), {});
        receiver.tick(at_ms(100));
        CHECK(!receiver.has_frames());
    }
}

TEST_CASE("A batch that is damaged or cut off is not acked") {
    auto damaged = batch_of(0, 3);
    damaged.bytes.back() ^= std::byte{1};
    auto cut_off = batch_of(0, 3);
    cut_off.bytes.pop_back();
    // Its checksums are right, and what it holds is no record.
    replay::ClosedBatch nonsense;
    nonsense.bytes = replay::make_batch(Seq(0), 1, bytes_of_text("\x0f nonsense"));
    for (const auto* batch : {&damaged, &cut_off, &nonsense}) {
        ReceiverFsm receiver(Seq(0), at_ms(0));
        CHECK(!give(receiver, *batch, at_ms(1)));
        CHECK(!receiver.has_frames());
        CHECK(receiver.next_received() == Seq(0));
        CHECK(receiver.take_batches().empty());
    }
}

TEST_CASE("What only a Secondary sends is nothing for a receiver") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    const auto ack = encode(Ack{});
    CHECK_THAT(error_of(receiver.step({FrameKind::kAck, ack}, at_ms(1))),
               Contains("an ack is nothing that a Primary sends"));
}

TEST_CASE("How the replay comes on is said now and then, and at once where there was no room") {
    LinkLimits limits;
    limits.unreplayed_records = 6;
    ReceiverFsm receiver(Seq(0), at_ms(0), limits);
    REQUIRE(give(receiver, batch_of(0, 3), at_ms(1)));
    (void)take_ack(receiver, at_ms(1));
    receiver.tick(at_ms(100));
    CHECK(!receiver.has_frames());
    receiver.replayed(Seq(1), GuestTime(std::chrono::seconds(9)));
    CHECK(!receiver.has_frames());
    receiver.tick(at_ms(5));
    CHECK(!receiver.has_frames());
    receiver.tick(at_ms(6));
    const auto ack = take_ack(receiver, at_ms(6));
    CHECK(ack.next_replayed == Seq(1));
    CHECK(ack.replayed_time == GuestTime(std::chrono::seconds(9)));

    REQUIRE(give(receiver, batch_of(3, 4), at_ms(7)));
    (void)take_ack(receiver, at_ms(7));
    REQUIRE(receiver.is_full());
    receiver.replayed(Seq(2), {});
    CHECK(!receiver.is_full());
    CHECK(take_ack(receiver, at_ms(7)).next_replayed == Seq(2));
}

TEST_CASE("A receiver is full by bytes or by records, until they are replayed") {
    const auto batch = batch_of(0, 2, 100);
    LinkLimits limits;
    limits.unreplayed_bytes = batch.bytes.size() + 10;
    ReceiverFsm receiver(Seq(0), at_ms(0), limits);
    REQUIRE(give(receiver, batch, at_ms(1)));
    CHECK(!receiver.is_full());
    const auto second = batch_of(2, 2, 100);
    REQUIRE(give(receiver, second, at_ms(1)));
    CHECK(receiver.is_full());
    // Who took them still holds them.
    (void)receiver.take_batches();
    CHECK(receiver.is_full());
    receiver.replayed(Seq(1), {});
    CHECK(receiver.is_full());
    receiver.replayed(Seq(2), {});
    CHECK(!receiver.is_full());
    CHECK(receiver.unreplayed_bytes() == second.bytes.size());
    CHECK(receiver.unreplayed_records() == 2);
}

TEST_CASE("A divergence is said at once") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    receiver.diverged();
    CHECK(take_ack(receiver, at_ms(1)).verdict == Verdict::kDiverged);
}

TEST_CASE("A promise counts from when the ack is taken, and none is made once it is finished") {
    ReceiverFsm receiver(Seq(0), at_ms(5));
    CHECK(receiver.promised_at() == at_ms(5));
    REQUIRE(give(receiver, kProbe, at_ms(10)));
    CHECK(receiver.heard_at() == at_ms(10));
    CHECK(receiver.promised_at() == at_ms(5));
    (void)take_ack(receiver, at_ms(12));
    CHECK(receiver.promised_at() == at_ms(12));
    REQUIRE(give(receiver, batch_of(0, 3), at_ms(20)));
    receiver.finish();
    CHECK(!receiver.has_frames());
    CHECK(receiver.take_frames(at_ms(21)).empty());
    CHECK(receiver.promised_at() == at_ms(12));
    CHECK_THAT(error_of(give(receiver, kProbe, at_ms(22))), Contains("given up"));
    receiver.diverged();
    receiver.replayed(Seq(3), {});
    receiver.tick(at_ms(100));
    CHECK(!receiver.has_frames());
    // What came is still there to be replayed.
    CHECK(records_of(receiver.take_batches()) == 3);
}

TEST_CASE("A Primary that says goodbye is acked once more, and sends nothing more") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    REQUIRE(give(receiver, batch_of(0, 3), at_ms(1)));
    REQUIRE(give(receiver, kGoodbye, at_ms(1)));
    CHECK(receiver.goodbye() == GoodbyeReason::kHandsOver);
    CHECK(take_ack(receiver, at_ms(1)).answers == MessageNumber(2));
    CHECK_THAT(error_of(give(receiver, kProbe, at_ms(2))), Contains("has left"));
}

TEST_CASE("A Secondary that leaves says so behind a last ack, and promises nothing more") {
    ReceiverFsm receiver(Seq(0), at_ms(0));
    REQUIRE(give(receiver, batch_of(0, 3), at_ms(1)));
    receiver.say_goodbye(GoodbyeReason::kDetaches);
    const auto frames = receiver.take_frames(at_ms(1));
    REQUIRE(frames.size() == 2);
    CHECK(decode_ack(frames[0].payload));
    const auto goodbye = decode_control(frames[1].payload);
    REQUIRE(goodbye);
    CHECK(*goodbye == Control{ControlKind::kGoodbye, GoodbyeReason::kDetaches});
    REQUIRE(give(receiver, kProbe, at_ms(2)));
    CHECK(!receiver.has_frames());
}

}  // namespace ftvmm::ftlink::testing
