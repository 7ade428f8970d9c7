#include "ftlink/tls_refusal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>

#include "ftlink/tls_context.h"
#include "pki/certificate_facts.h"

namespace ftvmm::ftlink {

namespace {

namespace asio = boost::asio;

constexpr const char* kSameAuthority =
    "both hosts' folders must come from one authority: ftvmm pki show tells";
constexpr const char* kClockOrCertificate =
    "set the clocks of both hosts if one is wrong, else: ftvmm pki issue DIR --host NAME --force";

std::string hosts_text(const std::vector<std::string>& hosts) {
    return hosts.empty() ? "nobody" : fmt::format("{}", fmt::join(hosts, ", "));
}

Error not_valid_now(const char* what, const std::string& host, std::chrono::sys_seconds limit,
                    std::chrono::sys_seconds now) {
    return Error(fmt::format("the certificate of {} {} {}, and this host's clock says {}", host,
                             what, pki::to_text(limit), pki::to_text(now)),
                 kClockOrCertificate);
}

// What the other end says of its own accord. RFC 8446 6.2.
Error why_refused_there(int alert) {
    switch (alert) {
        case SSL_AD_UNKNOWN_CA:
            return Error("the other host does not know the authority of this host's certificate",
                         kSameAuthority);
        case SSL_AD_CERTIFICATE_EXPIRED:
            return Error("by the other host's clock this host's certificate is not valid now",
                         kClockOrCertificate);
        case SSL_AD_BAD_CERTIFICATE:
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
        case SSL_AD_CERTIFICATE_REVOKED:
        case SSL_AD_CERTIFICATE_UNKNOWN:
            return Error("the other host refuses this host's certificate",
                         "its log says why; it may expect another host");
        case TLS13_AD_CERTIFICATE_REQUIRED:
            return Error("the other host wants a certificate and got none");
        case SSL_AD_PROTOCOL_VERSION:
            return Error("the other end does not speak TLS 1.3");
        default: {
            const char* const name = SSL_alert_desc_string_long(alert);
            return Error(
                fmt::format("the other host ended it with the TLS alert {} ({})", alert, name));
        }
    }
}

Error why_tls_ended(int reason, const boost::system::error_code& error) {
    switch (reason) {
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
        case SSL_R_UNEXPECTED_MESSAGE:
        case SSL_R_RECORD_LENGTH_MISMATCH:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
        case SSL_R_BAD_RECORD_TYPE:
            return Error("what came is no TLS", "connect to a port of ftvmm with ftvmm");
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_NO_PROTOCOLS_AVAILABLE:
            return Error("it offers no TLS 1.3, and ftvmm takes nothing older");
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return Error("it shows no certificate", kSameAuthority);
        case SSL_R_EXCESSIVE_MESSAGE_SIZE:
            return Error(fmt::format("its certificates take more than {} bytes", kMostChainBytes));
        default:
            break;
    }
    if (reason > SSL_AD_REASON_OFFSET) return why_refused_there(reason - SSL_AD_REASON_OFFSET);
    const auto code = static_cast<unsigned long>(static_cast<unsigned>(error.value()));
    const char* const text = ERR_reason_error_string(code);
    return Error(
        fmt::format("TLS failed: {}", text == nullptr ? "for no reason that OpenSSL tells" : text));
}

}  // namespace

Error why_not_trusted(asio::ssl::verify_context& context, const std::vector<std::string>& expected,
                      std::chrono::sys_seconds now) {
    X509_STORE_CTX* const store = context.native_handle();
    const int code = X509_STORE_CTX_get_error(store);
    X509* const certificate = X509_STORE_CTX_get_current_cert(store);
    const auto facts = certificate == nullptr ? Result<pki::CertificateFacts>(fail("there is none"))
                                              : pki::facts_of(*certificate);
    if (!facts) return facts.error().with_context("its certificate");
    const std::string host = facts->is_authority ? "the authority" : hosts_text(facts->hosts);
    switch (code) {
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return not_valid_now("is not valid before", host, facts->from, now);
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return not_valid_now("ended on", host, facts->until, now);
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return Error(fmt::format("its certificate (for {}) is of another authority: {}", host,
                                     facts->issuer),
                         kSameAuthority);
        case X509_V_ERR_HOSTNAME_MISMATCH:
            return Error(fmt::format("its certificate is for {}, and {} was expected", host,
                                     hosts_text(expected)),
                         "look at the addresses, and which folder was copied to that host");
        default:
            return Error(fmt::format("its certificate (for {}) is refused: {}", host,
                                     X509_verify_cert_error_string(code)));
    }
}

Error why_ended(const boost::system::error_code& error, const std::optional<Error>& not_trusted) {
    if (not_trusted) return *not_trusted;
    if (error == asio::error::eof || error == asio::ssl::error::stream_truncated) {
        return Error("the other end closed the connection");
    }
    if (error.category() == asio::error::get_ssl_category()) {
        const auto code = static_cast<unsigned long>(static_cast<unsigned>(error.value()));
        return why_tls_ended(ERR_GET_REASON(code), error);
    }
    return Error::from_errno(error.value(), "the connection failed");
}

bool host_answers(const boost::system::error_code& error) {
    return error == asio::error::eof || error == asio::ssl::error::stream_truncated ||
           error == asio::error::connection_reset || error == asio::error::connection_refused ||
           error == asio::error::broken_pipe;
}

}  // namespace ftvmm::ftlink
