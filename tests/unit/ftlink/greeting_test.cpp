// The first words on a connection, in memory.
#include "ftlink/greeting.h"

#include <catch2/catch.hpp>

#include "hellos.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;

namespace {

using Side = Greeting::Side;

// Brings the words of one to the other; the first error of that one.
Result<void> bring(Greeting& from, Greeting& to) {
    for (const OutgoingFrame& frame : from.take_frames()) {
        FrameDecoder decoder;
        decoder.feed(frame.header);
        decoder.feed(frame.payload);
        const auto came = decoder.next();
        REQUIRE((came && *came));
        FTVMM_TRY(to.step(**came));
    }
    return {};
}

struct Two {
    Greeting accepts;
    Greeting connects;

    explicit Two(const Hello& accepting = primary(), const Hello& connecting = secondary())
        : accepts(Greeting::create(accepting, Side::kAccepts, "b").value()),
          connects(Greeting::create(connecting, Side::kConnects, "a").value()) {}
};

Result<void> say(Greeting& to, FrameKind kind, std::vector<std::byte> payload = {}) {
    const OutgoingFrame frame = make_frame(kind, std::move(payload));
    return to.step({.kind = kind, .payload = frame.payload});
}

}  // namespace

TEST_CASE("Two that agree know each other, and neither before the other's welcome") {
    Two two;
    CHECK(two.connects.take_frames().empty());
    REQUIRE(bring(two.accepts, two.connects));
    CHECK_FALSE(two.connects.is_agreed());
    REQUIRE(bring(two.connects, two.accepts));
    CHECK(two.accepts.is_agreed());
    CHECK_FALSE(two.connects.is_agreed());
    REQUIRE(bring(two.accepts, two.connects));
    CHECK(two.connects.is_agreed());
    CHECK(two.accepts.peer() == secondary());
    CHECK(two.connects.peer() == primary());
}

TEST_CASE("Who refuses says for what, and the other tells it with its own side first") {
    Hello other = secondary();
    other.build = "0.2.0";
    Two two(primary(), other);
    const auto refused = bring(two.accepts, two.connects);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().line().find(
              "the build of ftvmm makes no pair: 0.2.0 here, 0.1.0 there") != std::string::npos);
    const auto told = bring(two.connects, two.accepts);
    REQUIRE_FALSE(told);
    CHECK(told.error().line().find("the other host refuses, the build of ftvmm makes no pair: "
                                   "0.2.0 there, 0.1.0 here") != std::string::npos);
    CHECK_FALSE(two.accepts.is_agreed());
    CHECK_FALSE(two.connects.is_agreed());
}

TEST_CASE(
    "A host that calls itself otherwise than its certificate does is refused by who accepted") {
    Hello other = secondary();
    other.host = "c";
    Two two(primary(), other);
    REQUIRE(bring(two.accepts, two.connects));
    CHECK_FALSE(bring(two.connects, two.accepts));
    const auto told = bring(two.accepts, two.connects);
    REQUIRE_FALSE(told);
    CHECK(told.error().line().find("certificate") != std::string::npos);
}

TEST_CASE("Anything but the next word ends a greeting for good") {
    const auto kind = GENERATE(FrameKind::kWelcome, FrameKind::kBatch, FrameKind::kAck,
                               FrameKind::kControl, FrameKind::kCloneState);
    Two two;
    CHECK_FALSE(say(two.accepts, kind));
    CHECK_FALSE(say(two.accepts, FrameKind::kHello, encode_hello(secondary()).value()));
    CHECK_FALSE(two.accepts.is_agreed());
}

TEST_CASE("A second hello, and a welcome with something in it, are none") {
    Two two;
    REQUIRE(say(two.accepts, FrameKind::kHello, encode_hello(secondary()).value()));
    SECTION("a second hello") {
        CHECK_FALSE(say(two.accepts, FrameKind::kHello, encode_hello(secondary()).value()));
    }
    SECTION("a welcome that is none") {
        CHECK_FALSE(say(two.accepts, FrameKind::kWelcome, {std::byte{1}}));
    }
    CHECK_FALSE(two.accepts.is_agreed());
}

TEST_CASE("A hello that keeps to no limit is refused where it is made") {
    Hello mine = primary();
    mine.build = std::string(1000, 'x');
    CHECK_FALSE(Greeting::create(mine, Side::kAccepts, "b"));
}
