// Who is refused, and what is said about it at both ends.
#include <csignal>

#include "raw_peer.h"
#include "tls_fixture.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;
using namespace std::chrono_literals;

namespace {

struct Host {
    boost::asio::io_context io;
    Cluster cluster;
    Listening listening;

    explicit Host(TlsListenerOptions options = {.expected = {"b"}},
                  std::chrono::sys_seconds now = kNow)
        : listening(io, cluster.context("a", now), std::move(options)) {
        // A peer that is refused may find its socket closed.
        (void)std::signal(SIGPIPE, SIG_IGN);
    }

    // Who connects with `context` is refused; what the listener says.
    std::string refusal_of(const TlsContext& context) {
        return refusal_of(Connecting(io, context, listening.address(), "a"));
    }
    std::string refusal_of(const Connecting& connecting) {
        // The end that connects hears of it when it reads.
        End end(connecting.channel());
        REQUIRE(run_until(io, [&] { return end.ended.has_value(); }));
        told_ = end.ended->why.line();
        std::string line = listening.refusal();
        CHECK(has(line, "refused 127.0.0.1:"));
        CHECK(listening.accepted.empty());
        CHECK(listening.listener->half_open() == 0);
        return line;
    }
    std::string refusal_of_raw(SslContext context) {
        const RawTlsPeer peer(std::move(context), listening.listener->port());
        std::string line = listening.refusal();
        CHECK(listening.accepted.empty());
        return line;
    }

    std::string told_;  // To the one that was refused.
};

}  // namespace

TEST_CASE("A host of another cluster is refused, and both ends say so") {
    Host host;
    const Cluster other;
    // It would be refused by itself otherwise.
    SslContext client = careless_client();
    show(client.get(), other.identity("b").host);
    const auto line = host.refusal_of_raw(std::move(client));
    CHECK(has(line, "of another authority: O=ftvmm cluster, CN=one"));
    const Connecting connecting(host.io, other.context("b"), host.listening.address(), "a");
    CHECK(has(connecting.failure(), "of another authority"));
}

TEST_CASE("A host whose certificate is for another name is refused, and both names are told") {
    Host host;
    const auto line = host.refusal_of(host.cluster.context("c"));
    CHECK(has(line, "its certificate is for c, and b was expected"));
    CHECK(has(host.told_, "the other host refuses this host's certificate"));
}

TEST_CASE("A host is not believed to be one that it is not, though it is of the cluster") {
    Host host;
    const Connecting connecting(host.io, host.cluster.context("b"), host.listening.address(), "c");
    CHECK(has(connecting.failure(), "its certificate is for a, and c was expected"));
    CHECK(has(host.listening.refusal(), "refused"));
}

TEST_CASE("An expired certificate is refused with its end and this host's clock") {
    Host host({.expected = {"b"}}, kNow + 24h * 30);
    // By its own clock it is valid still.
    const auto line = host.refusal_of(host.cluster.context("b", kNow, std::chrono::days(10)));
    CHECK(has(line, "the certificate of b ended on 2027-01-25 08:00:00 UTC"));
    CHECK(has(line, "this host's clock says 2027-02-14 08:00:00 UTC"));
    CHECK(has(line, "set the clocks"));
    CHECK(has(host.told_, "by the other host's clock this host's certificate is not valid now"));
}

TEST_CASE("A host whose clock is hours behind says how its clock stands") {
    boost::asio::io_context io;
    const Cluster cluster;
    const auto own = TlsContext::create(cluster.identity("a"), [] { return kNow - 3h; });
    REQUIRE_FALSE(own);
    CHECK(has(own.error().line(), "its clock says 2027-01-15 05:00:00 UTC"));
    CHECK(has(own.error().line(), "set the clock"));
    CHECK_FALSE(
        TlsContext::create(cluster.identity("a", std::chrono::days(1)), [] { return kNow + 25h; }));
}

TEST_CASE("A clock that goes wrong later makes the peer's certificate not valid yet") {
    boost::asio::io_context io;
    const Cluster cluster;
    auto now = kNow;
    const auto context = TlsContext::create(cluster.identity("a"), [&now] { return now; }).value();
    Listening listening(io, context, {.expected = {"b"}});
    now = kNow - 3h;
    const Connecting connecting(io, cluster.context("b"), listening.address(), "a");
    CHECK(has(listening.refusal(), "is not valid before"));
    CHECK(has(listening.lines.front(), "this host's clock says 2027-01-15 05:00:00 UTC"));
}

TEST_CASE("Plain bytes are refused for what they are") {
    Host host;
    const Fd fd = connect_to(host.listening.listener->port());
    const std::string_view text = GENERATE("GET / HTTP/1.0\r\n\r\n", "ftvmm hello, this is no TLS");
    REQUIRE(::write(fd.get(), text.data(), text.size()) > 0);
    CHECK(has(host.listening.refusal(), "what came is no TLS"));
}

TEST_CASE("A peer without TLS 1.3 is refused") {
    Host host;
    SslContext client = careless_client();
    SSL_CTX_set_max_proto_version(client.get(), TLS1_2_VERSION);
    show(client.get(), host.cluster.identity("b").host);
    CHECK(has(host.refusal_of_raw(std::move(client)), "it offers no TLS 1.3"));
}

TEST_CASE("A peer without a certificate is refused") {
    Host host;
    CHECK(has(host.refusal_of_raw(careless_client()), "it shows no certificate"));
}

TEST_CASE("A peer with more certificates than it needs is refused before they are looked at") {
    Host host;
    SslContext client = careless_client();
    const auto identity = host.cluster.identity("b");
    show(client.get(), identity.host);
    const auto extra = pki::read_certificate(identity.authority).value();
    for (int i = 0; i < 100; ++i)
        SSL_CTX_add1_chain_cert(client.get(), extra.get());
    CHECK(
        has(host.refusal_of_raw(std::move(client)), "its certificates take more than 8192 bytes"));
}

TEST_CASE("An authority that calls itself like the cluster's is refused") {
    Host host;
    SslContext client = careless_client();
    show(client.get(),
         pki::make_authority("one", pki::Validity::starting(kNow, pki::kHostDays)).value());
    CHECK(has(host.refusal_of_raw(std::move(client)), "of another authority"));
}

TEST_CASE("A peer that only connects is dropped at its deadline, and who connects next is served") {
    Host host({.expected = {"b"}, .patience = {.handshake = 50ms}});
    const Fd silent = connect_to(host.listening.listener->port());
    CHECK(has(host.listening.refusal(), "it did not finish the TLS handshake within 50 ms"));
    const Connecting connecting(host.io, host.cluster.context("b"), host.listening.address(), "a");
    (void)connecting.channel();
    CHECK(run_until(host.io, [&] { return host.listening.accepted.size() == 1; }));
}

TEST_CASE("Nobody at the port is told from a host that does not answer") {
    boost::asio::io_context io;
    const Cluster cluster;
    const Connecting connecting(io, cluster.context("b"), {"127.0.0.1", 1}, "a");
    CHECK(has(connecting.failure(), "Connection refused"));
    CHECK(connecting.opened->error().host_answers);
    CHECK_FALSE(tls_connect(io, cluster.context("b"), {"a.example", 1}, {"a"}, {}, {}));
}

TEST_CASE(
    "Ten thousand silent connections cost a bounded number of descriptors, and a host gets in") {
    Host host({.expected = {"b"}, .most_half_open = 16});
    std::vector<Fd> held;
    for (int i = 0; i < 10'000; ++i) {
        held.push_back(connect_to(host.listening.listener->port()));
        REQUIRE(held.back().valid());
        // They go on holding their ends, as far as this process has descriptors.
        if (held.size() > 256) held.erase(held.begin());
        host.io.restart();
        host.io.poll();
        REQUIRE(host.listening.listener->half_open() <= 16);
    }
    REQUIRE(run_until(host.io,
                      [&] { return host.listening.listener->refusals().refusals() >= 9'900; }));
    // A line each would be a gift to who floods.
    CHECK(host.listening.lines.size() < 500);
    const Connecting connecting(host.io, host.cluster.context("b"), host.listening.address(), "a");
    (void)connecting.channel();
    CHECK(run_until(host.io, [&] { return host.listening.accepted.size() == 1; }));
}

TEST_CASE("A listener that is closed refuses nobody any more and leaves its port") {
    Host host;
    const auto port = host.listening.listener->port();
    const Fd silent = connect_to(port);
    host.io.poll();
    host.listening.listener->close();
    host.io.restart();
    host.io.poll();
    CHECK_FALSE(connect_to(port).valid());
    CHECK(host.listening.lines.empty());
}

TEST_CASE("Refusals are told up to a burst, then a few each second, and the rest is counted") {
    std::vector<std::string> lines;
    RefusalLog log([&](const std::string& line) { lines.push_back(line); });
    ManualClock clock;
    clock.advance(1h);
    for (int i = 0; i < 1000; ++i)
        log.refused("192.0.2.1:1", "no", clock.now());
    CHECK(lines.size() == RefusalLog::kBurst);
    CHECK(lines.front() == "refused 192.0.2.1:1: no");
    clock.advance(1s);
    for (int i = 0; i < 1000; ++i)
        log.refused("192.0.2.1:1", "no", clock.now());
    CHECK(lines.size() == RefusalLog::kBurst + RefusalLog::kPerSecond);
    CHECK(has(lines[RefusalLog::kBurst], "(900 refusals before it are not shown)"));
    CHECK(log.refusals() == 2000);
}
