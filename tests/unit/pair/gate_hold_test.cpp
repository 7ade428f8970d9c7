#include "pair/gate_hold.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using ftlink::OutputGate;
using replay::Seq;

replay::Output packet(std::byte byte) {
    return replay::output::Packet{0, {byte}};
}

std::optional<std::byte> byte_of(const std::optional<replay::Output>& output) {
    if (!output) return std::nullopt;
    return std::get<replay::output::Packet>(*output).frame.front();
}

struct Gate {
    int wakes = 0;
    SystemClock clock;
    GateHold hold{[this] { ++wakes; }, {}};
};

TEST_CASE("An output leaves when the Secondary has its mark, and the vCPU thread is woken for it") {
    Gate gate;
    gate.hold.pair(Seq(0));
    gate.hold.hold(Seq(3), packet(std::byte{1}));
    gate.hold.hold(Seq(7), packet(std::byte{2}));
    gate.hold.acked(Seq(3), gate.clock.now());
    CHECK(gate.wakes == 0);
    CHECK_FALSE(gate.hold.take_free());
    gate.hold.acked(Seq(4), gate.clock.now());
    CHECK(gate.wakes == 1);
    CHECK(byte_of(gate.hold.take_free()) == std::byte{1});
    CHECK_FALSE(gate.hold.take_free());
    CHECK(gate.hold.outputs() == 1);
}

TEST_CASE("An ack of an answer that is old opens nothing") {
    Gate gate;
    gate.hold.pair(Seq(0));
    gate.hold.hold(Seq(0), packet(std::byte{1}));
    gate.hold.acked(Seq(1), gate.clock.now() - std::chrono::seconds(5));
    CHECK(gate.wakes == 0);
    CHECK_FALSE(gate.hold.take_free());
    gate.hold.acked(Seq(1), gate.clock.now());
    CHECK(gate.wakes == 1);
    CHECK(gate.hold.take_free());
}

TEST_CASE("A gate that was shut lets out nothing for an ack, and everything once it is open") {
    Gate gate;
    gate.hold.pair(Seq(0));
    gate.hold.hold(Seq(0), packet(std::byte{1}));
    gate.hold.shut();
    gate.hold.acked(Seq(1), gate.clock.now());
    CHECK_FALSE(gate.hold.take_free());
    gate.hold.open();
    CHECK(gate.wakes == 1);
    CHECK(byte_of(gate.hold.take_free()) == std::byte{1});
    CHECK(gate.hold.is_empty());
}

TEST_CASE("Without the storage's lease nothing leaves, and nothing that has left is performed") {
    Gate gate;
    gate.hold.open();
    gate.hold.storage_holds(gate.clock.now() - std::chrono::milliseconds(1));
    // Nobody records it.
    gate.hold.hold(std::nullopt, packet(std::byte{1}));
    const int wakes = gate.wakes;
    CHECK_FALSE(gate.hold.take_free());
    CHECK_FALSE(gate.hold.holds());
    gate.hold.storage_holds(gate.clock.now() + std::chrono::seconds(5));
    CHECK(gate.wakes == wakes + 1);
    CHECK(gate.hold.holds());
    CHECK(byte_of(gate.hold.take_free()) == std::byte{1});
    gate.hold.shut();
    CHECK_FALSE(gate.hold.holds());
}

TEST_CASE("What nobody recorded may stand behind what was, and leaves behind it") {
    Gate gate;
    gate.hold.pair(Seq(0));
    gate.hold.hold(Seq(5), packet(std::byte{1}));
    gate.hold.hold(std::nullopt, packet(std::byte{2}));
    gate.hold.acked(Seq(5), gate.clock.now());
    CHECK_FALSE(gate.hold.take_free());
    gate.hold.acked(Seq(6), gate.clock.now());
    CHECK(byte_of(gate.hold.take_free()) == std::byte{1});
    CHECK(byte_of(gate.hold.take_free()) == std::byte{2});
}

}  // namespace
}  // namespace ftvmm::pair
