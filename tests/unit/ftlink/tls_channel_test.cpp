// Two hosts of a cluster that know each other, and what goes between them.
#include "ftlink/tls_channel.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>

#include "base/random.h"
#include "tls_fixture.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;

namespace {

struct Pair {
    boost::asio::io_context io;
    Cluster cluster;
    Listening listening{io, cluster.context("a"), {.expected = {"b"}}};
    Connecting connecting{io, cluster.context("b"), listening.address(), "a"};
    std::unique_ptr<End> b = std::make_unique<End>(connecting.channel());
    std::unique_ptr<End> a;

    Pair() {
        REQUIRE(run_until(io, [&] { return !listening.accepted.empty(); }));
        a = std::make_unique<End>(listening.accepted.front());
    }
};

std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
    std::vector<std::byte> bytes(size);
    SeededEntropy(seed).fill(bytes);
    return bytes;
}

// Counts the changes of keys that `ssl` announces.
void count_key_updates(int writes, int, int content, const void* bytes, std::size_t size, SSL*,
                       void* count) {
    const bool is_update = writes == 1 && content == SSL3_RT_HANDSHAKE && size > 0 &&
                           *static_cast<const std::uint8_t*>(bytes) == SSL3_MT_KEY_UPDATE;
    if (is_update) ++*static_cast<int*>(count);
}

}  // namespace

TEST_CASE("Each end of a channel knows the host at the other by its certificate") {
    Pair pair;
    CHECK(pair.a->channel->peer().host == "b");
    CHECK(pair.b->channel->peer().host == "a");
    CHECK(pair.b->channel->peer().address ==
          to_text(endpoint_of(pair.listening.address()).value()));
    CHECK(pair.listening.lines.empty());
}

TEST_CASE("Both ends of a channel know the same secret, and no other channel's end does") {
    const Pair pair;
    const auto of_a = pair.a->channel->derive_secret("EXPORTER-test").value();
    CHECK(of_a != ChannelSecret{});
    CHECK(pair.b->channel->derive_secret("EXPORTER-test").value() == of_a);
    CHECK(pair.b->channel->derive_secret("EXPORTER-tests").value() != of_a);
    const Pair another;
    CHECK(another.a->channel->derive_secret("EXPORTER-test").value() != of_a);
}

TEST_CASE("Both ends of a channel see the same two addresses") {
    const Pair pair;
    const auto of_a = pair.a->channel->endpoints();
    const auto of_b = pair.b->channel->endpoints();
    REQUIRE(of_a);
    REQUIRE(of_b);
    CHECK(of_a->local.ip == "127.0.0.1");
    CHECK(of_a->local.port == pair.listening.address().port);
    CHECK(of_a->peer.ip == of_b->local.ip);
    CHECK(of_a->peer.port == of_b->local.port);
    CHECK(of_b->peer.port == of_a->local.port);
    pair.a->channel->close();
    CHECK_FALSE(pair.a->channel->endpoints());
}

TEST_CASE("Bytes come as they were sent, both ways at once, whatever their number") {
    Pair pair;
    std::vector<std::byte> to_a;
    std::vector<std::byte> to_b;
    std::uint64_t seed = 1;
    for (const std::size_t size : {1, 12, 100, 16383, 16384, 16385, 70000, 1, 3'000'000, 5}) {
        const auto bytes = random_bytes(size, ++seed);
        to_a.insert(to_a.end(), bytes.begin(), bytes.end());
        pair.b->channel->queue(std::span(bytes));
        auto moved = random_bytes(size, ++seed);
        to_b.insert(to_b.end(), moved.begin(), moved.end());
        pair.a->channel->queue(std::move(moved));
        pair.a->channel->flush();
    }
    CHECK(pair.b->channel->unwritten_bytes() == to_a.size());
    pair.b->channel->flush();
    REQUIRE(run_until(pair.io, [&] {
        return pair.a->got.size() == to_a.size() && pair.b->got.size() == to_b.size();
    }));
    CHECK(pair.a->got == to_a);
    CHECK(pair.b->got == to_b);
    CHECK(pair.b->channel->unwritten_bytes() == 0);
}

TEST_CASE("A burst of small frames shares a record, and one alone leaves at once") {
    Pair pair;
    pair.b->send("alone");
    REQUIRE(run_until(pair.io, [&] { return pair.a->text() == "alone"; }));
    CHECK(pair.a->pieces == 1);
    for (int i = 0; i < 100; ++i)
        pair.b->channel->queue(bytes_of("burst"));
    pair.b->channel->flush();
    REQUIRE(run_until(pair.io, [&] { return pair.a->got.size() == 505; }));
    // OpenSSL gives a record at a time.
    CHECK(pair.a->pieces == 2);
}

TEST_CASE("Nothing is read that nobody asked for, and what waits is written later") {
    Pair pair;
    pair.a->reads_on = false;
    pair.b->send("first");
    REQUIRE(run_until(pair.io, [&] { return pair.a->text() == "first"; }));
    // More than the kernel's buffers take.
    pair.b->channel->queue(random_bytes(std::size_t{32} << 20U, 1));
    pair.b->channel->flush();
    CHECK_FALSE(run_until(
        pair.io, [&] { return pair.b->channel->unwritten_bytes() == 0; },
        std::chrono::milliseconds(200)));
    CHECK(pair.a->got.size() == 5);
    pair.a->reads_on = true;
    pair.a->channel->read();
    REQUIRE(run_until(pair.io, [&] { return pair.a->got.size() == 5 + (std::size_t{32} << 20U); }));
    CHECK(pair.b->channel->unwritten_bytes() == 0);
}

TEST_CASE("Who stops writing is heard to its last byte and may still read") {
    Pair pair;
    pair.b->channel->queue(random_bytes(1'000'000, 1));
    pair.b->channel->finish_writing();
    REQUIRE(run_until(pair.io, [&] { return pair.a->ended.has_value(); }));
    CHECK(pair.a->got.size() == 1'000'000);
    CHECK(pair.a->ended->host_answers);
    CHECK(has(pair.a->ended->why.line(), "closed the connection"));
}

TEST_CASE("An end is told once, and never to who has closed") {
    Pair pair;
    pair.b->channel->close();
    REQUIRE(run_until(pair.io, [&] { return pair.a->ended.has_value(); }));
    CHECK_FALSE(pair.b->ended);
    pair.a->ended.reset();
    pair.a->send("into the void");
    pair.a->channel->read();
    (void)run_until(
        pair.io, [&] { return pair.a->ended.has_value(); }, std::chrono::milliseconds(50));
    CHECK_FALSE(pair.a->ended);
}

TEST_CASE("A connection is TLS 1.3, without tickets, and small segments leave at once") {
    boost::asio::io_context io;
    const Cluster cluster;
    const Listening listening(io, cluster.context("a"));
    SSL_CTX* const context = cluster.context("a").ssl().native_handle();
    CHECK(SSL_CTX_get_min_proto_version(context) == TLS1_3_VERSION);
    CHECK(SSL_CTX_get_max_proto_version(context) == TLS1_3_VERSION);
    CHECK(SSL_CTX_get_num_tickets(context) == 0);
    CHECK(SSL_CTX_get_verify_mode(context) == (SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT));
}

TEST_CASE("Keys change under way, and no byte is lost by it") {
    boost::asio::io_context io;
    const Cluster cluster;
    // A channel of its own, that changes keys each few records.
    boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    const auto a_context = cluster.context("a");
    const auto b_context = cluster.context("b");
    auto a_stream = std::make_unique<TlsStream>(io, a_context.ssl());
    auto b_stream = std::make_unique<TlsStream>(io, b_context.ssl());
    int ready = 0;
    acceptor.async_accept(a_stream->next_layer(), [&](auto) {
        a_stream->async_handshake(TlsStream::server, [&](auto error) { ready += error ? 9 : 1; });
    });
    b_stream->next_layer().async_connect(acceptor.local_endpoint(), [&](auto) {
        b_stream->async_handshake(TlsStream::client, [&](auto error) { ready += error ? 9 : 1; });
    });
    // Neither expects a name here, and both check the time of day.
    X509_VERIFY_PARAM_set_time(SSL_get0_param(a_stream->native_handle()), 1'800'000'000);
    X509_VERIFY_PARAM_set_time(SSL_get0_param(b_stream->native_handle()), 1'800'000'000);
    REQUIRE(run_until(io, [&] { return ready >= 2; }));
    REQUIRE(ready == 2);
    int updates = 0;
    SSL_set_msg_callback(b_stream->native_handle(), count_key_updates);
    SSL_set_msg_callback_arg(b_stream->native_handle(), &updates);
    End a(std::make_shared<TlsChannel>(std::move(a_stream), TlsPeer{"b", "b"}, 3));
    End b(std::make_shared<TlsChannel>(std::move(b_stream), TlsPeer{"a", "a"}, 2));
    const auto bytes = random_bytes(2'000'000, 7);
    a.channel->queue(std::span(bytes));
    b.channel->queue(std::span(bytes));
    a.channel->flush();
    b.channel->flush();
    REQUIRE(run_until(io, [&] {
        return (a.got.size() == bytes.size() && b.got.size() == bytes.size()) || a.ended || b.ended;
    }));
    if (a.ended) FAIL(a.ended->why.line());
    if (b.ended) FAIL(b.ended->why.line());
    CHECK(a.got == bytes);
    CHECK(b.got == bytes);
    // 123 records of 16 KiB, a new key behind each two.
    CHECK(updates >= 40);
}
