#include "ftlink/tls_opening.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/post.hpp>

#include "ftlink/tls_refusal.h"
#include "pki/certificate_facts.h"
#include "pki/openssl.h"

namespace ftvmm::ftlink {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// An idle connection is asked about each second, and has three of them to answer.
constexpr int kKeepaliveS = 1;
constexpr int kKeepaliveProbes = 3;
// What a refused peer may have sent and nobody read: closing over it would take the refusal back.
constexpr std::size_t kLeftOverBytes = std::size_t{64} << 10U;

Result<void> set_option(int fd, int level, int name, int value, const char* what) {
    if (::setsockopt(fd, level, name, &value, sizeof value) == 0) return {};
    return Failure(Error::from_errno(errno, what));
}

// The one name in the certificate that was verified.
Result<std::string> host_of_peer(SSL* ssl) {
    const pki::X509Ptr certificate(SSL_get1_peer_certificate(ssl));
    if (!certificate) return fail("it shows no certificate");
    FTVMM_ASSIGN(const pki::CertificateFacts facts, pki::facts_of(*certificate));
    if (facts.hosts.size() == 1) return facts.hosts.front();
    return fail(fmt::format("its certificate is for {} hosts, and one is for one host",
                            facts.hosts.size()));
}

// So that the end of the connection reaches the other host behind what TLS said last, and not as a
// reset.
void close_softly(tcp::socket& socket) {
    boost::system::error_code ignored;
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    std::array<std::byte, 4096> scratch{};
    socket.non_blocking(true, ignored);
    for (std::size_t total = 0; total < kLeftOverBytes;) {
        boost::system::error_code error;
        const std::size_t got = socket.read_some(asio::buffer(scratch), error);
        if (error) break;
        total += got;
    }
    socket.close(ignored);
}

}  // namespace

std::string to_text(const tcp::endpoint& endpoint) {
    const std::string ip = endpoint.address().to_string();
    return endpoint.address().is_v6() ? fmt::format("[{}]:{}", ip, endpoint.port())
                                      : fmt::format("{}:{}", ip, endpoint.port());
}

Result<tcp::endpoint> endpoint_of(const TlsAddress& address) {
    boost::system::error_code error;
    const auto ip = asio::ip::make_address(address.ip, error);
    if (!error) return tcp::endpoint(ip, address.port);
    return fail(fmt::format("\"{}\" is no IP address", address.ip),
                "give the address and no name: it must be known when no name server answers");
}

TlsOpening::TlsOpening(tcp::socket socket, TlsContext context, std::vector<std::string> expected,
                       TlsPatience patience, Done done)
    : stream_(std::make_unique<TlsStream>(std::move(socket), context.ssl())),
      context_(std::move(context)),
      expected_(std::move(expected)),
      patience_(patience),
      done_(std::move(done)),
      timer_(stream_->get_executor()) {}

TlsOpening::~TlsOpening() = default;

void TlsOpening::connect(const tcp::endpoint& endpoint) {
    address_ = to_text(endpoint);
    limit(patience_.connect, "no answer to the connection");
    stream_->next_layer().async_connect(
        endpoint, [self = shared_from_this()](const boost::system::error_code& error) {
            if (self->is_over()) return;
            if (error) {
                self->fail_with(error);
            } else {
                self->begin_handshake(TlsStream::client);
            }
        });
}

void TlsOpening::accept(const tcp::endpoint& endpoint) {
    address_ = to_text(endpoint);
    begin_handshake(TlsStream::server);
}

void TlsOpening::begin_handshake(Kind kind) {
    limit(patience_.handshake, "it did not finish the TLS handshake");
    auto ready = set_options();
    if (ready) ready = expect_peer(kind == TlsStream::client);
    if (!ready) {
        give_up(ready.error());
        return;
    }
    stream_->async_handshake(
        kind, [self = shared_from_this()](const auto& error) { self->on_handshake(error); });
}

Result<void> TlsOpening::set_options() {
    const int fd = stream_->next_layer().native_handle();
    const auto unacknowledged = static_cast<int>(patience_.unacknowledged.count());
    FTVMM_TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
    FTVMM_TRY(set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged, "TCP_USER_TIMEOUT"));
    FTVMM_TRY(set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
    FTVMM_TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveS, "TCP_KEEPIDLE"));
    FTVMM_TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveS, "TCP_KEEPINTVL"));
    return set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes, "TCP_KEEPCNT");
}

Result<void> TlsOpening::expect_peer(bool is_client) {
    SSL* const ssl = stream_->native_handle();
    X509_VERIFY_PARAM* const param = SSL_get0_param(ssl);
    // A name in the subject is none, and no name stands for several.
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
    bool is_set = X509_VERIFY_PARAM_set_purpose(
                      param, is_client ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT) == 1;
    for (const std::string& host : expected_)
        is_set = is_set && X509_VERIFY_PARAM_add1_host(param, host.c_str(), host.size()) == 1;
    if (!is_set) return pki::openssl_failure("whom to expect");
    const std::chrono::sys_seconds now = context_.now();
    X509_VERIFY_PARAM_set_time(param, std::chrono::system_clock::to_time_t(now));
    boost::system::error_code error;
    // NOLINTNEXTLINE(bugprone-unused-return-value): `error` is it.
    stream_->set_verify_callback(
        [self = weak_from_this(), now](bool is_trusted, asio::ssl::verify_context& context) {
            const auto opening = self.lock();
            if (!is_trusted && opening && !opening->not_trusted_) {
                opening->not_trusted_ = why_not_trusted(context, opening->expected_, now);
            }
            return is_trusted;
        },
        error);
    if (error) return fail("the verification of certificates: " + error.message());
    return {};
}

void TlsOpening::limit(std::chrono::milliseconds patience, const char* what) {
    timer_.expires_after(patience);
    timer_.async_wait([weak = weak_from_this(), patience, what](const auto& error) {
        const auto self = weak.lock();
        if (!error && self)
            self->give_up(Error(fmt::format("{} within {} ms", what, patience.count())));
    });
}

void TlsOpening::on_handshake(const boost::system::error_code& error) {
    if (is_over()) return;
    if (error) {
        fail_with(error);
        return;
    }
    const auto host = host_of_peer(stream_->native_handle());
    if (!host) {
        give_up(host.error());
        return;
    }
    // What verified is not needed any more, and would outlive this object.
    boost::system::error_code ignored;
    stream_->set_verify_callback([](bool, asio::ssl::verify_context&) { return false; }, ignored);
    finish(std::make_shared<TlsChannel>(std::move(stream_), TlsPeer{*host, address_}));
}

void TlsOpening::fail_with(const boost::system::error_code& error) {
    const Error why = why_ended(error, not_trusted_);
    finish(tl::unexpected(Failed{.why = why, .host_answers = host_answers(error)}));
}

void TlsOpening::give_up(Error why) {
    if (!done_ || gave_up_) return;
    gave_up_ = std::move(why);
    timer_.cancel();
    close_softly(stream_->next_layer());
    // From the event loop, so that who gives up may hold on to this object and its own.
    asio::post(timer_.get_executor(), [self = shared_from_this()] {
        if (!self->done_) return;
        self->finish(tl::unexpected(Failed{.why = *self->gave_up_, .host_answers = false}));
    });
}

void TlsOpening::finish(Opened opened) {
    const auto done = std::exchange(done_, {});
    close();
    done(std::move(opened));
}

void TlsOpening::close() {
    done_ = {};
    timer_.cancel();
    if (stream_) close_softly(stream_->next_layer());
}

Result<std::shared_ptr<TlsOpening>> tls_connect(asio::io_context& io, const TlsContext& context,
                                                const TlsAddress& address,
                                                std::vector<std::string> expected,
                                                const TlsPatience& patience,
                                                TlsOpening::Done done) {
    FTVMM_ASSIGN(const tcp::endpoint endpoint, endpoint_of(address));
    auto opening = std::make_shared<TlsOpening>(tcp::socket(io), context, std::move(expected),
                                                patience, std::move(done));
    opening->connect(endpoint);
    return opening;
}

}  // namespace ftvmm::ftlink
