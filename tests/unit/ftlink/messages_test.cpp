// Messages come back as they were, and no other bytes are one.
#include "ftlink/messages.h"

#include "support.h"

namespace ftvmm::ftlink::testing {
namespace {

using Catch::Matchers::Contains;

Ack some_ack() {
    Ack ack;
    ack.next_received = replay::Seq(0x0102'0304'0506'0708);
    ack.next_replayed = replay::Seq(77);
    ack.answers = MessageNumber(5);
    ack.replayed_time = GuestTime(std::chrono::seconds(3));
    ack.verdict = Verdict::kDiverged;
    return ack;
}

}  // namespace

TEST_CASE("An ack comes back as it was") {
    const auto bytes = encode(some_ack());
    CHECK(bytes.size() <= most_payload_bytes(FrameKind::kAck));
    const auto ack = decode_ack(bytes);
    REQUIRE(ack);
    CHECK(*ack == some_ack());
}

TEST_CASE("A control comes back as it was") {
    for (const auto kind : {ControlKind::kProbe, ControlKind::kGoodbye}) {
        for (const auto reason : {GoodbyeReason::kHandsOver, GoodbyeReason::kDetaches}) {
            const Control control{kind, reason};
            const auto again = decode_control(encode(control));
            REQUIRE(again);
            CHECK(*again == control);
        }
    }
}

TEST_CASE("A message that is too short or too long is none") {
    auto ack = encode(some_ack());
    auto control = encode(Control{});
    for (std::size_t size = 0; size < ack.size(); ++size)
        CHECK(!decode_ack(std::span(ack).first(size)));
    for (std::size_t size = 0; size < control.size(); ++size)
        CHECK(!decode_control(std::span(control).first(size)));
    ack.push_back({});
    control.push_back({});
    CHECK_THAT(decode_ack(ack).error().what(), Contains("it goes on behind byte 33"));
    CHECK_THAT(decode_control(control).error().what(), Contains("it goes on behind byte 2"));
}

TEST_CASE("A verdict, a kind or a reason that there is not makes no message") {
    auto ack = encode(some_ack());
    ack.back() = std::byte{2};
    CHECK_THAT(decode_ack(ack).error().what(), Contains("there is no such verdict"));
    CHECK(!decode_control(std::vector{std::byte{2}, std::byte{0}}));
    CHECK(!decode_control(std::vector{std::byte{1}, std::byte{2}}));
}

TEST_CASE("An ack of more replayed than came makes no sense") {
    auto ack = some_ack();
    ack.next_replayed = ack.next_received + 1;
    CHECK_THAT(decode_ack(encode(ack)).error().what(), Contains("more was replayed than came"));
}

}  // namespace ftvmm::ftlink::testing
