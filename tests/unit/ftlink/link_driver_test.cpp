// Frames between the two hosts of a pair, over the loopback.
#include "ftlink/link_driver.h"

#include <limits>

#include "base/random.h"
#include "tls_fixture.h"
#include "two_hosts.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;

namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
    Bytes bytes(size);
    SeededEntropy(seed).fill(bytes);
    return bytes;
}

// One end: what came, and what ended it.
struct LinkEnd {
    std::vector<std::pair<FrameKind, Bytes>> frames;
    std::size_t room = std::numeric_limits<std::size_t>::max();  // For so many frames more.
    std::optional<Error> objection;                              // To the next frame.
    int turns = 0;
    std::optional<LinkLost> lost;
    std::shared_ptr<LinkDriver> driver;

    explicit LinkEnd(Greeted greeted)
        : driver(LinkDriver::start(std::move(greeted),
                                   {.may_take = [this] { return room > 0; },
                                    .take = [this](const Frame& frame) { return take(frame); },
                                    .turn = [this] { ++turns; },
                                    .lost = [this](LinkLost why) { lost = std::move(why); }})) {}
    LinkEnd(const LinkEnd&) = delete;
    LinkEnd& operator=(const LinkEnd&) = delete;
    ~LinkEnd() { driver->close(); }

    Result<void> take(const Frame& frame) {
        if (objection) return Failure(*objection);
        --room;
        frames.emplace_back(frame.kind, Bytes(frame.payload.begin(), frame.payload.end()));
        return {};
    }
    void send(FrameKind kind, Bytes payload) const {
        driver->send(make_frame(kind, std::move(payload)));
        driver->flush();
    }
    [[nodiscard]] std::string why() const { return lost ? lost->why.line() : "it is not lost"; }
};

// Neither end listens yet.
struct Link {
    TwoHosts hosts;
    boost::asio::io_context io;
    std::shared_ptr<TlsChannel> channel_of_a;  // Below everything.
    std::unique_ptr<LinkEnd> a;
    std::unique_ptr<LinkEnd> b;

    Link() {
        Meeting of_a(io, hosts.of_primary());
        Meeting of_b(io, hosts.of_secondary(of_a.driver->port()));
        REQUIRE(of_b.is_agreed());
        REQUIRE(of_a.is_agreed());
        channel_of_a = (*of_a.met)->channel;
        a = std::make_unique<LinkEnd>(std::move(**of_a.met));
        b = std::make_unique<LinkEnd>(std::move(**of_b.met));
    }
    // Both listen.
    void start() const {
        a->driver->resume();
        b->driver->resume();
    }
    [[nodiscard]] bool until(const std::function<bool()>& done) { return run_until(io, done); }
};

}  // namespace

TEST_CASE("Frames come in order and whole, both ways at once, whatever their size") {
    Link link;
    link.start();
    std::vector<std::pair<FrameKind, Bytes>> sent;
    for (const std::size_t size : {1U, 60U, 16372U, 16384U, 1U, 3'000'000U, 5U})
        sent.emplace_back(FrameKind::kBatch, random_bytes(size, size));
    for (const auto& [kind, payload] : sent) {
        link.a->driver->send(make_frame(kind, payload));
        link.b->send(kind, payload);
    }
    link.a->driver->flush();
    REQUIRE(link.until([&] {
        return link.a->frames.size() == sent.size() && link.b->frames.size() == sent.size();
    }));
    CHECK(link.a->frames == sent);
    CHECK(link.b->frames == sent);
    CHECK(link.a->driver->unwritten_bytes() == 0);
    // Each was told that there is time to say more.
    CHECK(link.a->turns > 0);
    CHECK(link.b->turns > 0);
}

TEST_CASE("What comes before its owner is ready waits, and so does what there is no room for") {
    Link link;
    link.a->driver->resume();
    link.a->send(FrameKind::kControl, {std::byte{1}});
    link.a->send(FrameKind::kControl, {std::byte{2}});
    REQUIRE(link.until([&] { return link.a->driver->unwritten_bytes() == 0; }));
    CHECK(link.b->frames.empty());
    CHECK(link.b->driver->is_paused());
    link.b->room = 1;
    link.b->driver->resume();
    REQUIRE(link.until([&] { return link.b->driver->is_paused(); }));
    REQUIRE(link.b->frames.size() == 1);
    link.b->room = 1;
    link.b->driver->resume();
    REQUIRE(link.until([&] { return link.b->frames.size() == 2; }));
    CHECK(link.b->frames[1].second == Bytes{std::byte{2}});
}

TEST_CASE("While there is no room nothing is read, and who sends sees it") {
    Link link;
    link.b->room = 1;
    link.start();
    link.a->send(FrameKind::kControl, {std::byte{1}});
    REQUIRE(link.until([&] { return link.b->driver->is_paused(); }));
    const std::uint64_t before = link.b->driver->received_bytes();
    // More than the kernel's buffers take.
    const std::size_t size = std::size_t{32} << 20U;
    link.a->send(FrameKind::kBatch, random_bytes(size, 1));
    CHECK_FALSE(run_until(
        link.io, [&] { return link.a->driver->unwritten_bytes() == 0; },
        std::chrono::milliseconds(200)));
    CHECK(link.b->driver->received_bytes() == before);
    link.b->room = 1;
    link.b->driver->resume();
    REQUIRE(link.until([&] { return link.b->frames.size() == 2; }));
    CHECK(link.b->frames[1].second.size() == size);
}

TEST_CASE("A large frame on its way is seen by its bytes, at both ends, before it is one") {
    Link link;
    link.start();
    const LinkDriver& from = *link.a->driver;
    const LinkDriver& to = *link.b->driver;
    // The greeting's bytes count already.
    const std::uint64_t written = from.written_bytes();
    const std::uint64_t received = to.received_bytes();
    CHECK(written > 0);
    CHECK(received == written);
    const OutgoingFrame frame = make_frame(FrameKind::kBatch, random_bytes(3'000'000, 1));
    const std::size_t size = frame.size();
    link.a->driver->send(OutgoingFrame(frame));
    // What is only queued has not moved.
    CHECK(from.written_bytes() == written);
    link.a->driver->flush();
    std::uint64_t last = received;
    int moves = 0;
    while (link.b->frames.empty()) {
        REQUIRE(link.until([&] { return to.received_bytes() > last; }));
        last = to.received_bytes();
        CHECK(last <= received + size);
        ++moves;
    }
    // It came by TLS's records.
    CHECK(moves > 100);
    CHECK(to.received_bytes() == received + size);
    CHECK(from.written_bytes() == written + size);
    // The other way nothing went.
    CHECK(from.received_bytes() == to.written_bytes());
}

TEST_CASE("Who says that no more comes is heard to the end, and then both are done") {
    Link link;
    link.start();
    link.a->driver->send(make_frame(FrameKind::kBatch, random_bytes(100'000, 1)));
    link.a->driver->finish_writing();
    REQUIRE(link.until([&] { return link.b->lost.has_value(); }));
    CHECK(link.b->frames.size() == 1);
    CHECK(has(link.b->why(), "closed the connection"));
    CHECK(link.b->lost->host_answers);
    // That ends the connection for the other one too.
    REQUIRE(link.until([&] { return link.a->lost.has_value(); }));
    CHECK(link.a->lost->host_answers);
}

TEST_CASE("Who closes is called no more, and the other end is told that the host lives") {
    Link link;
    link.start();
    link.a->send(FrameKind::kControl, {std::byte{1}});
    REQUIRE(link.until([&] { return link.b->frames.size() == 1; }));
    link.a->driver->close();
    REQUIRE(link.until([&] { return link.b->lost.has_value(); }));
    CHECK(has(link.b->why(), "closed the connection"));
    CHECK(link.b->lost->host_answers);
    CHECK_FALSE(link.a->lost);
    // What counted bytes does so still.
    CHECK(link.a->driver->written_bytes() == link.b->driver->received_bytes());
}

TEST_CASE("A frame that its owner objects to ends the link with the objection") {
    Link link;
    link.start();
    link.b->objection = Error("nobody asked for it");
    link.a->send(FrameKind::kAck, {std::byte{1}});
    link.a->send(FrameKind::kAck, {std::byte{2}});
    REQUIRE(link.until([&] { return link.a->lost && link.b->lost; }));
    CHECK(has(link.b->why(), "nobody asked for it"));
    // It is the peer who spoke: its host lives.
    CHECK(link.b->lost->host_answers);
    CHECK(link.b->frames.empty());
}

TEST_CASE("What is no frame ends the link, behind the frames before it") {
    Link link;
    link.start();
    link.a->send(FrameKind::kControl, {std::byte{1}});
    link.channel_of_a->queue(bytes_of("these are no frame's first bytes"));
    link.channel_of_a->flush();
    REQUIRE(link.until([&] { return link.b->lost.has_value(); }));
    CHECK(link.b->frames.size() == 1);
    CHECK(link.b->lost->host_answers);
    CHECK(has(link.b->why(), "byte"));
}
