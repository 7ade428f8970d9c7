// Two hosts that find each other over the loopback, and those that do not get in.
#include "ftlink/meeting_driver.h"

#include "raw_peer.h"
#include "tls_fixture.h"
#include "two_hosts.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;
using namespace std::chrono_literals;

TEST_CASE("Two hosts that agree are a pair, and each knows the other's half of it") {
    TwoHosts hosts;
    boost::asio::io_context io;
    Meeting a(io, hosts.of_primary());
    Meeting b(io, hosts.of_secondary(a.driver->port()));
    REQUIRE(b.is_agreed());
    REQUIRE(a.is_agreed());
    CHECK((*a.met)->peer == secondary());
    CHECK((*b.met)->peer == primary());
    CHECK(b.driver->port() == 0);
    // Nobody else gets in.
    CHECK_FALSE(connect_to(a.driver->port()).valid());
    CHECK(hosts.lines.empty());
}

TEST_CASE("Hosts that do not agree make no pair, each says why, and who listens waits on") {
    TwoHosts hosts;
    boost::asio::io_context io;
    Meeting a(io, hosts.of_primary());
    LinkOptions other = hosts.of_secondary(a.driver->port());
    other.hello.build = "0.2.0";
    Meeting wrong(io, other);
    const std::string why = wrong.failure().why.line();
    CHECK(has(why, "a at 127.0.0.1:"));
    CHECK(has(why, "the build of ftvmm makes no pair: 0.2.0 here, 0.1.0 there"));
    REQUIRE(run_until(io, [&] { return !hosts.lines.empty(); }));
    CHECK(has(hosts.lines.front(), "refused b at 127.0.0.1:"));
    CHECK(has(hosts.lines.front(),
              "the other host refuses, the build of ftvmm makes no pair: "
              "0.2.0 there, 0.1.0 here"));
    CHECK_FALSE(a.met);
    Meeting right(io, hosts.of_secondary(a.driver->port()));
    CHECK(right.is_agreed());
    CHECK(a.is_agreed());
}

TEST_CASE("A host of the cluster that is not the expected one is not let in") {
    TwoHosts hosts;
    boost::asio::io_context io;
    Meeting a(io, hosts.of_primary());
    LinkOptions other = hosts.of_secondary(a.driver->port());
    other.hello.host = "c";
    other.identity = hosts.cluster.identity("c");
    Meeting c(io, other);
    CHECK(has(c.failure().why.line(), "the other host refuses this host's certificate"));
    CHECK_FALSE(a.met);
}

TEST_CASE("A host that agrees to nothing is left, and one that never comes is not waited for") {
    TwoHosts hosts;
    boost::asio::io_context io;
    LinkOptions mine = hosts.of_primary();
    mine.greeting = 50ms;
    mine.await_peer = 300ms;
    Meeting a(io, mine);
    // Of the cluster, and silent.
    SslContext client = careless_client();
    show(client.get(), hosts.cluster.identity("b").host);
    const RawTlsPeer silent(std::move(client), a.driver->port());
    const LinkLost lost = a.failure();
    CHECK(has(lost.why.line(),
              "b was not there within 300 ms; the last that came: refused b at 127.0.0.1:"));
    CHECK(has(lost.why.line(), "it did not agree to be a pair within 50 ms"));
    CHECK_FALSE(lost.host_answers);
}

TEST_CASE("What can not even be tried is an error, and nobody at the port is another") {
    TwoHosts hosts;
    boost::asio::io_context io;
    const auto error_of = [&io](const LinkOptions& options) {
        const auto started = MeetingDriver::start(io, options, {});
        REQUIRE_FALSE(started);
        return started.error().line();
    };
    LinkOptions wrong = hosts.of_secondary(1);
    wrong.address.ip = "host.example";
    CHECK(has(error_of(wrong), "is no IP address"));
    wrong = hosts.of_secondary(1);
    wrong.identity = hosts.cluster.identity("c");
    CHECK(has(error_of(wrong), "this host is b, and its certificate is for c"));
    wrong = hosts.of_secondary(1);
    wrong.hello.build = "\n";
    CHECK(has(error_of(wrong), "the build of ftvmm holds more than printable ASCII"));

    Meeting nobody(io, hosts.of_secondary(1));
    const LinkLost lost = nobody.failure();
    CHECK(has(lost.why.line(),
              "connecting to a at 127.0.0.1:1: the connection failed: Connection refused"));
    CHECK(lost.host_answers);
}

TEST_CASE("Who has closed is told nothing, and its port is free") {
    TwoHosts hosts;
    boost::asio::io_context io;
    Meeting a(io, hosts.of_primary());
    const std::uint16_t port = a.driver->port();
    Meeting b(io, hosts.of_secondary(port));
    a.driver->close();
    // Whoever had come that far is left.
    CHECK_FALSE(b.is_agreed());
    CHECK_FALSE(a.met);
    CHECK_FALSE(connect_to(port).valid());
}
