// The Primary's end of the link.
#include "ftlink/sender_fsm.h"

#include "support.h"

namespace ftvmm::ftlink::testing {
namespace {

using Catch::Matchers::Contains;
using replay::Seq;

Ack ack_of(std::uint64_t received, std::uint64_t replayed, std::uint64_t answers) {
    Ack ack;
    ack.next_received = Seq(received);
    ack.next_replayed = Seq(replayed);
    ack.answers = MessageNumber(answers);
    return ack;
}

Result<void> give(SenderFsm& sender, const Ack& ack, Instant now) {
    return sender.step(received(make_frame(FrameKind::kAck, encode(ack)), FrameKind::kAck), now);
}

// What kinds of frames are taken at `now`, a letter each: probe, batch, goodbye.
std::string take(SenderFsm& sender, Instant now) {
    std::string kinds;
    for (const auto& frame : sender.take_frames(now)) {
        FrameDecoder decoder;
        decoder.feed(wire(frame));
        const auto taken = decoder.next();
        REQUIRE(taken);
        REQUIRE(*taken);
        if ((*taken)->kind == FrameKind::kBatch) {
            kinds += 'b';
            continue;
        }
        const auto control = decode_control((*taken)->payload);
        REQUIRE(control);
        kinds += control->kind == ControlKind::kProbe ? 'p' : 'g';
    }
    return kinds;
}

// One whose first probe is sent.
SenderFsm sender_with(const LinkLimits& limits = {}) {
    SenderFsm sender(Seq(0), at_ms(0), limits);
    REQUIRE(take(sender, at_ms(0)) == "p");
    return sender;
}

}  // namespace

TEST_CASE("A sender begins with a probe, or with a batch in its place") {
    SenderFsm idle(Seq(0), at_ms(0));
    CHECK(take(idle, at_ms(0)) == "p");
    CHECK(!idle.has_frames());
    SenderFsm busy(Seq(7), at_ms(0));
    busy.offer(batch_of(7, 3), at_ms(0));
    CHECK(take(busy, at_ms(0)) == "b");
    CHECK(!busy.has_frames());
}

TEST_CASE("Batches go out as they were made, in order and at once") {
    auto sender = sender_with();
    const auto batch = batch_of(0, 3);
    sender.offer(batch, at_ms(1));
    sender.offer(batch_of(3, 1), at_ms(1));
    CHECK(sender.has_frames());
    const auto frames = sender.take_frames(at_ms(1));
    REQUIRE(frames.size() == 2);
    CHECK(frames[0].payload == batch.bytes);
    CHECK(sender.queued_bytes() == 0);
    CHECK(sender.unreplayed_records() == 4);
    CHECK(sender.unreplayed_bytes() == frames[0].payload.size() + frames[1].payload.size());
}

TEST_CASE("An answer stands for the sending of the newest message that it answers") {
    auto sender = sender_with();  // Message 1.
    CHECK(!sender.answered_sent_at());
    sender.offer(batch_of(0, 3), at_ms(10));
    CHECK(take(sender, at_ms(12)) == "b");  // Message 2.
    sender.offer(batch_of(3, 3), at_ms(20));
    CHECK(take(sender, at_ms(25)) == "b");  // Message 3.
    REQUIRE(give(sender, ack_of(3, 0, 2), at_ms(90)));
    CHECK(sender.answered_sent_at() == at_ms(12));
    CHECK(sender.next_received() == Seq(3));
    // How the replay comes on answers nothing new.
    REQUIRE(give(sender, ack_of(3, 3, 2), at_ms(95)));
    CHECK(sender.answered_sent_at() == at_ms(12));
    CHECK(sender.next_replayed() == Seq(3));
    REQUIRE(give(sender, ack_of(6, 3, 3), at_ms(99)));
    CHECK(sender.answered_sent_at() == at_ms(25));
}

TEST_CASE("A silent sender probes, a sender of batches does not") {
    auto sender = sender_with();
    sender.tick(at_ms(49));
    CHECK(!sender.has_frames());
    sender.tick(at_ms(50));
    CHECK(take(sender, at_ms(50)) == "p");
    sender.offer(batch_of(0, 1), at_ms(90));
    CHECK(take(sender, at_ms(90)) == "b");
    sender.tick(at_ms(130));
    CHECK(!sender.has_frames());
    sender.tick(at_ms(140));
    CHECK(take(sender, at_ms(140)) == "p");
}

TEST_CASE("Probes that nobody answers come to an end, and begin again with an answer") {
    LinkLimits limits;
    limits.unanswered_probes = 3;
    auto sender = sender_with(limits);
    std::string sent;
    for (int ms = 50; ms < 1000; ms += 50) {
        sender.tick(at_ms(ms));
        sent += take(sender, at_ms(ms));
    }
    CHECK(sent == "pp");
    REQUIRE(give(sender, ack_of(0, 0, 1), at_ms(1000)));
    sender.tick(at_ms(1000));
    CHECK(take(sender, at_ms(1000)) == "p");
}

TEST_CASE("Not more is sent than the Secondary has room for, and probes still are") {
    LinkLimits limits;
    limits.unreplayed_records = 10;
    auto sender = sender_with(limits);
    for (int i = 0; i < 4; ++i)
        sender.offer(batch_of(static_cast<std::uint64_t>(i) * 4, 4), at_ms(1));
    CHECK(take(sender, at_ms(1)) == "bb");
    CHECK(!sender.has_frames());
    // What is received takes room until it is replayed.
    REQUIRE(give(sender, ack_of(8, 3, 3), at_ms(2)));
    CHECK(!sender.has_frames());
    sender.tick(at_ms(60));
    CHECK(take(sender, at_ms(60)) == "p");
    REQUIRE(give(sender, ack_of(8, 4, 4), at_ms(61)));
    CHECK(take(sender, at_ms(61)) == "b");
    REQUIRE(give(sender, ack_of(12, 12, 5), at_ms(62)));
    CHECK(take(sender, at_ms(62)) == "b");
    CHECK(sender.unreplayed_records() == 4);
}

TEST_CASE("A batch that is larger than all room goes alone") {
    LinkLimits limits;
    limits.unreplayed_bytes = 300;
    auto sender = sender_with(limits);
    sender.offer(batch_of(0, 1, 100), at_ms(1));
    sender.offer(batch_of(1, 1, 1000), at_ms(1));
    sender.offer(batch_of(2, 1, 100), at_ms(1));
    CHECK(take(sender, at_ms(1)) == "b");
    REQUIRE(give(sender, ack_of(1, 1, 2), at_ms(2)));
    CHECK(take(sender, at_ms(2)) == "b");
    REQUIRE(give(sender, ack_of(2, 2, 3), at_ms(3)));
    CHECK(take(sender, at_ms(3)) == "b");
}

TEST_CASE("The vCPU is held back by what waits to be sent, and let go when it was") {
    LinkLimits limits;
    limits.queued_bytes = 100;
    auto sender = sender_with(limits);
    CHECK(!sender.is_full());
    sender.offer(batch_of(0, 1, 200), at_ms(1));
    CHECK(sender.is_full());
    CHECK(take(sender, at_ms(1)) == "b");
    CHECK(!sender.is_full());
}

TEST_CASE("One take gives no more than a few large writes") {
    auto sender = sender_with();
    for (std::uint64_t i = 0; i < 8; ++i)
        sender.offer(batch_of(i, 1, 100'000), at_ms(1));
    CHECK(take(sender, at_ms(1)) == "bbb");
    CHECK(take(sender, at_ms(1)) == "bbb");
    CHECK(take(sender, at_ms(1)) == "bb");
}

TEST_CASE("The lag is the age of the oldest batch that is not replayed") {
    auto sender = sender_with();
    CHECK(sender.lag(at_ms(500)).count() == 0);
    sender.offer(batch_of(0, 2), at_ms(100));
    CHECK(sender.lag(at_ms(150)) == std::chrono::milliseconds(50));
    (void)take(sender, at_ms(150));
    sender.offer(batch_of(2, 2), at_ms(190));
    (void)take(sender, at_ms(190));
    REQUIRE(give(sender, ack_of(4, 1, 3), at_ms(200)));
    CHECK(sender.lag(at_ms(200)) == std::chrono::milliseconds(100));
    REQUIRE(give(sender, ack_of(4, 2, 3), at_ms(200)));
    CHECK(sender.lag(at_ms(200)) == std::chrono::milliseconds(10));
    REQUIRE(give(sender, ack_of(4, 4, 3), at_ms(200)));
    CHECK(sender.lag(at_ms(200)).count() == 0);
}

TEST_CASE("A Secondary that does not come on slows the guest down") {
    auto sender = sender_with();
    sender.offer(batch_of(0, 2), at_ms(100));
    (void)take(sender, at_ms(100));
    sender.tick(at_ms(1100));
    CHECK(!sender.throttle().is_throttled());
    sender.tick(at_ms(1200));
    CHECK(sender.throttle().is_throttled());
}

TEST_CASE("An ack of what was not sent, or that takes something back, breaks the link") {
    const auto error = [](const Ack& ack) {
        auto sender = sender_with();
        sender.offer(batch_of(0, 3), at_ms(1));
        sender.offer(batch_of(3, 3), at_ms(1));
        (void)take(sender, at_ms(1));
        REQUIRE(give(sender, ack_of(3, 2, 2), at_ms(2)));
        auto what = error_of(give(sender, ack, at_ms(3)));
        // Nothing of it counts, and nothing goes on.
        CHECK(sender.next_received() == Seq(3));
        CHECK(sender.answered_sent_at() == at_ms(1));
        CHECK_THAT(error_of(give(sender, ack_of(6, 2, 3), at_ms(4))), Contains("is broken"));
        sender.tick(at_ms(500));
        sender.offer(batch_of(6, 1), at_ms(500));
        CHECK(take(sender, at_ms(500)).empty());
        return what;
    };
    CHECK_THAT(error(ack_of(7, 2, 3)), Contains("was not sent"));
    CHECK_THAT(error(ack_of(6, 2, 4)), Contains("was not sent"));
    CHECK_THAT(error(ack_of(2, 2, 3)), Contains("takes back"));
    CHECK_THAT(error(ack_of(6, 1, 3)), Contains("takes back"));
    CHECK_THAT(error(ack_of(6, 2, 1)), Contains("takes back"));
}

TEST_CASE("What only a Primary sends is nothing for a sender") {
    const auto error = [](const OutgoingFrame& frame, FrameKind kind) {
        auto sender = sender_with();
        return error_of(sender.step(received(frame, kind), at_ms(1)));
    };
    CHECK_THAT(error(make_frame(FrameKind::kBatch, batch_of(0, 1).bytes), FrameKind::kBatch),
               Contains("a batch is nothing that a Secondary sends"));
    CHECK_THAT(error(make_frame(FrameKind::kControl, encode(Control{})), FrameKind::kControl),
               Contains("a Secondary sends no probes"));
    CHECK_THAT(error(make_frame(FrameKind::kAck, {}), FrameKind::kAck), Contains("cut off"));
}

TEST_CASE("Goodbye is the last message, behind every batch, and nothing follows") {
    LinkLimits limits;
    limits.unreplayed_records = 2;
    auto sender = sender_with(limits);
    sender.offer(batch_of(0, 2), at_ms(1));
    sender.offer(batch_of(2, 2), at_ms(1));
    sender.say_goodbye(GoodbyeReason::kHandsOver);
    CHECK(take(sender, at_ms(1)) == "b");
    sender.tick(at_ms(60));
    CHECK(take(sender, at_ms(60)) == "p");
    REQUIRE(give(sender, ack_of(2, 2, 3), at_ms(61)));
    CHECK(take(sender, at_ms(61)) == "bg");
    for (int ms = 100; ms < 500; ms += 50) {
        sender.tick(at_ms(ms));
        CHECK(take(sender, at_ms(ms)).empty());
    }
    // The last answers still count.
    REQUIRE(give(sender, ack_of(4, 4, 5), at_ms(501)));
    CHECK(sender.next_replayed() == Seq(4));
}

TEST_CASE("A Secondary that has left is told nothing more, and says nothing more") {
    auto sender = sender_with();
    const Control goodbye{ControlKind::kGoodbye, GoodbyeReason::kHandsOver};
    const auto frame = make_frame(FrameKind::kControl, encode(goodbye));
    REQUIRE(sender.step(received(frame, FrameKind::kControl), at_ms(1)));
    CHECK(sender.goodbye() == GoodbyeReason::kHandsOver);
    sender.offer(batch_of(0, 1), at_ms(2));
    CHECK(take(sender, at_ms(2)).empty());
    CHECK_THAT(error_of(give(sender, ack_of(0, 0, 1), at_ms(3))), Contains("still sends"));
}

}  // namespace ftvmm::ftlink::testing
