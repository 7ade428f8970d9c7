#include "ftlink/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <utility>

#include "pki/certificate_facts.h"
#include "pki/openssl.h"

namespace ftvmm::ftlink {

namespace {

namespace ssl = boost::asio::ssl;

// Each has hardware's help on the hosts that run guests; the first is the fastest there.
constexpr const char* kCiphers =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256";
constexpr const char* kSignatures = "ECDSA+SHA256:ed25519";

Result<void> restrict_to_tls13(SSL_CTX* context) {
    const bool is_done = SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                         SSL_CTX_set_ciphersuites(context, kCiphers) == 1 &&
                         SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
                         SSL_CTX_set1_sigalgs_list(context, kSignatures) == 1 &&
                         SSL_CTX_set_num_tickets(context, 0) == 1 &&
                         SSL_CTX_set_max_early_data(context, 0) == 1;
    if (!is_done) return pki::openssl_failure("TLS 1.3");
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // A connection that is silent keeps no buffer of OpenSSL's.
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return {};
}

Result<void> ask_for_certificates(SSL_CTX* context, X509* authority) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // Nothing stands between a host's certificate and the authority's.
    SSL_CTX_set_verify_depth(context, 0);
    SSL_CTX_set_max_cert_list(context, kMostChainBytes);
    // The one store is this authority: the system's own are never loaded.
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) != 1) {
        return pki::openssl_failure("the cluster's authority");
    }
    return {};
}

Result<void> show_certificate(SSL_CTX* context, const pki::Credential& host) {
    FTVMM_ASSIGN(const pki::X509Ptr certificate, pki::read_certificate(host.certificate));
    FTVMM_ASSIGN(const pki::KeyPtr key, pki::read_key(host.key));
    if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return pki::openssl_failure("this host's certificate");
    }
    return {};
}

Result<void> check_time(const pki::CertificateFacts& facts, const std::string& host,
                        std::chrono::sys_seconds now) {
    if (now >= facts.from && now <= facts.until) return {};
    return fail(
        fmt::format("this host's certificate is valid from {} until {}, and its clock says {}",
                    pki::to_text(facts.from), pki::to_text(facts.until), pki::to_text(now)),
        fmt::format("set the clock if it is wrong, else: ftvmm pki issue DIR --host {} --force",
                    host));
}

}  // namespace

std::chrono::sys_seconds TlsContext::system_time() {
    return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

Result<TlsContext> TlsContext::create(const pki::HostIdentity& identity, WallClock clock) {
    FTVMM_ASSIGN(const pki::CertificateFacts facts, pki::read_facts(identity.host.certificate));
    if (facts.hosts.size() != 1) return fail("this host's certificate is not for one host");
    FTVMM_TRY(check_time(facts, facts.hosts.front(), clock()));
    FTVMM_ASSIGN(const pki::X509Ptr authority, pki::read_certificate(identity.authority));
    SSL_CTX* const context = SSL_CTX_new(TLS_method());
    if (context == nullptr) return pki::openssl_failure("TLS");
    auto owner = std::make_shared<ssl::context>(context);
    FTVMM_TRY(restrict_to_tls13(context));
    FTVMM_TRY(ask_for_certificates(context, authority.get()));
    FTVMM_TRY(show_certificate(context, identity.host));
    return TlsContext(std::move(owner), std::move(clock), facts.hosts.front());
}

}  // namespace ftvmm::ftlink
