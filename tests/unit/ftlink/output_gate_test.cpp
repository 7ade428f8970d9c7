// An output leaves when its own mark is acked and the lease holds, and at no other time.
#include "ftlink/output_gate.h"

#include "support.h"

namespace ftvmm::ftlink::testing {
namespace {

using replay::Seq;

replay::Output text(std::string_view content) {
    return replay::output::ConsoleBytes{bytes_of_text(content)};
}

std::string text_of(const OutputGate::Released& released) {
    const auto& bytes = std::get<replay::output::ConsoleBytes>(released.output).bytes;
    std::string text;
    for (const std::byte byte : bytes)
        text.push_back(static_cast<char>(byte));
    return text;
}

// All that leaves at `now`, one after another.
std::string release(OutputGate& gate, Instant now) {
    std::string all;
    while (gate.has_released(now)) {
        const auto released = gate.take_released(now);
        REQUIRE(released);
        all += text_of(*released);
    }
    CHECK(!gate.take_released(now));
    return all;
}

// A gate of a pair whose Secondary has just answered, with outputs a, b, c behind marks 3, 5 and 6.
OutputGate paired_gate() {
    OutputGate gate;
    gate.pair(Seq(0));
    gate.answered(at_ms(100));
    gate.push(Seq(3), text("a"), at_ms(100));
    gate.push(Seq(5), text("b"), at_ms(100));
    gate.push(Seq(6), text("c"), at_ms(100));
    return gate;
}

}  // namespace

TEST_CASE("An output leaves once its own mark is acked, and not with a record before it") {
    auto gate = paired_gate();
    CHECK(release(gate, at_ms(110)).empty());
    gate.ack(Seq(3));
    CHECK(release(gate, at_ms(110)).empty());
    gate.ack(Seq(4));
    CHECK(release(gate, at_ms(110)) == "a");
    gate.ack(Seq(5));
    CHECK(release(gate, at_ms(110)).empty());
    gate.ack(Seq(7));
    CHECK(release(gate, at_ms(110)) == "bc");
}

TEST_CASE("An ack that falls behind one before takes nothing back") {
    auto gate = paired_gate();
    gate.ack(Seq(6));
    gate.ack(Seq(1));
    CHECK(release(gate, at_ms(110)) == "ab");
}

TEST_CASE("A lease counts from when the answered message was sent, and ends to the nanosecond") {
    auto gate = paired_gate();
    gate.ack(Seq(7));
    REQUIRE(gate.lease_end() == at_ms(400));
    CHECK(!gate.has_released(at_ms(400)));
    CHECK(gate.has_released(at_ms(400) - std::chrono::nanoseconds(1)));
}

TEST_CASE("An older answer that comes late does not shorten a lease, a newer one makes it longer") {
    auto gate = paired_gate();
    gate.ack(Seq(7));
    gate.answered(at_ms(50));
    CHECK(gate.lease_end() == at_ms(400));
    gate.answered(at_ms(200));
    CHECK(gate.lease_end() == at_ms(500));
    CHECK(release(gate, at_ms(499)) == "abc");
}

TEST_CASE("An acked output stays when the lease has ended, and leaves with the next answer") {
    auto gate = paired_gate();
    gate.ack(Seq(7));
    CHECK(release(gate, at_ms(401)).empty());
    gate.answered(at_ms(390));
    CHECK(release(gate, at_ms(401)) == "abc");
}

TEST_CASE("Without an answer nothing leaves") {
    OutputGate gate;
    gate.pair(Seq(10));
    gate.push(Seq(3), text("a"), at_ms(0));
    CHECK(!gate.lease_end());
    CHECK(release(gate, at_ms(0)).empty());
}

TEST_CASE("A shut gate lets nothing out, and what was told to it opens nothing later") {
    auto gate = paired_gate();
    gate.ack(Seq(4));
    gate.shut();
    CHECK(release(gate, at_ms(110)).empty());
    gate.ack(Seq(7));
    gate.answered(at_ms(110));
    CHECK(release(gate, at_ms(110)).empty());
    gate.pair(Seq(0));
    CHECK(release(gate, at_ms(110)).empty());
    gate.answered(at_ms(110));
    CHECK(release(gate, at_ms(110)).empty());
    gate.ack(Seq(7));
    CHECK(release(gate, at_ms(110)) == "abc");
}

TEST_CASE("Who owns the VM alone needs no acks, but the lease of the storage") {
    auto gate = paired_gate();
    gate.storage_holds(at_ms(105));
    gate.shut();
    gate.open();
    CHECK(release(gate, at_ms(105)).empty());
    // Answers of a Secondary that was lost say nothing.
    gate.answered(at_ms(110));
    CHECK(release(gate, at_ms(110)).empty());
    gate.storage_holds(at_ms(25'105));
    CHECK(gate.lease_end() == at_ms(25'105));
    CHECK(gate.holds(at_ms(25'104)));
    CHECK(release(gate, at_ms(25'104)) == "abc");
    gate.push(Seq(6), text("d"), at_ms(25'104));
    CHECK(release(gate, at_ms(25'105)).empty());
    CHECK(!gate.holds(at_ms(25'105)));
}

TEST_CASE("Who waits for acks needs the lease of the storage all the same") {
    auto gate = paired_gate();
    gate.ack(Seq(7));
    gate.storage_holds(at_ms(300));
    CHECK(gate.lease_end() == at_ms(300));
    CHECK(release(gate, at_ms(300)).empty());
    // It renews no promise of the Secondary.
    gate.storage_holds(at_ms(900));
    CHECK(gate.lease_end() == at_ms(400));
    CHECK(release(gate, at_ms(400)).empty());
    gate.answered(at_ms(390));
    CHECK(release(gate, at_ms(400)) == "abc");
}

TEST_CASE("A shut gate holds no lease, whatever the storage says") {
    auto gate = paired_gate();
    gate.storage_holds(at_ms(25'000));
    gate.shut();
    CHECK(!gate.lease_end());
    CHECK(!gate.holds(at_ms(110)));
}

TEST_CASE("A gate is full by count or by bytes, and takes what comes all the same") {
    OutputGate by_count({}, {.outputs = 2, .bytes = 1'000'000});
    by_count.push(Seq(1), text("a"), at_ms(0));
    CHECK(!by_count.is_full());
    by_count.push(Seq(2), text("b"), at_ms(0));
    CHECK(by_count.is_full());
    by_count.push(Seq(3), text("c"), at_ms(0));
    CHECK(by_count.outputs() == 3);

    const auto large = text(std::string(1000, 'x'));
    OutputGate by_bytes({}, {.outputs = 100, .bytes = bytes_of(large) + 1});
    by_bytes.push(Seq(1), large, at_ms(0));
    CHECK(!by_bytes.is_full());
    by_bytes.push(Seq(2), large, at_ms(0));
    CHECK(by_bytes.is_full());
    by_bytes.open();
    REQUIRE(by_bytes.take_released(at_ms(0)));
    CHECK(!by_bytes.is_full());
    REQUIRE(by_bytes.take_released(at_ms(0)));
    CHECK(by_bytes.bytes() == 0);
}

TEST_CASE("A gate tells who waits, since when, and how long those waited that have left") {
    auto gate = paired_gate();
    CHECK(gate.newest_mark() == Seq(6));
    CHECK(gate.waits_since() == at_ms(100));
    gate.ack(Seq(7));
    CHECK(release(gate, at_ms(101)) == "abc");
    CHECK(!gate.newest_mark());
    CHECK(!gate.waits_since());
    CHECK(gate.hold_times().count() == 3);
    CHECK(gate.hold_times().most() == std::chrono::milliseconds(1));
    CHECK(gate.hold_times().sum() == std::chrono::milliseconds(3));
    CHECK(gate.hold_times().percentile(50) == std::chrono::milliseconds(1));
}

}  // namespace ftvmm::ftlink::testing
