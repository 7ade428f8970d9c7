#include "pki/certificate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "pki/certificate_facts.h"
#include "pki/openssl.h"

namespace ftvmm::pki {

namespace {

constexpr std::chrono::minutes kClocksBehind{5};
constexpr std::size_t kMostNameBytes = 253;  // RFC 1035, without the last dot.
constexpr std::size_t kMostLabelBytes = 63;

bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_label(std::string_view label) {
    return !label.empty() && label.size() <= kMostLabelBytes && label.front() != '-' &&
           label.back() != '-' &&
           std::ranges::all_of(label, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

Result<std::string> key_text(EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_secmem()));
    if (!bio ||
        PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return openssl_failure("the key as text");
    }
    return text_of(bio.get());
}

Result<std::string> certificate_text(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) {
        return openssl_failure("the certificate as text");
    }
    return text_of(bio.get());
}

// RFC 5280 4.1.2.2: positive, up to 20 bytes. 127 bits of chance never meet twice.
Result<void> set_serial(X509* certificate) {
    const BignumPtr number(BN_new());
    if (!number || BN_rand(number.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
        BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
        return openssl_failure("a random serial number");
    }
    return {};
}

Result<void> set_validity(X509* certificate, Validity validity) {
    const auto from = std::chrono::system_clock::to_time_t(validity.from);
    const auto until = std::chrono::system_clock::to_time_t(validity.until);
    if (validity.from >= validity.until ||
        ASN1_TIME_set(X509_getm_notBefore(certificate), from) == nullptr ||
        ASN1_TIME_set(X509_getm_notAfter(certificate), until) == nullptr) {
        return openssl_failure("the time for which it is to be valid");
    }
    return {};
}

Result<void> add_name(X509_NAME* name, const char* field, const std::string& text) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC, bytes, static_cast<int>(text.size()),
                                   -1, 0) != 1) {
        return openssl_failure("the name " + text);
    }
    return {};
}

Result<void> add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
        return openssl_failure(value);
    }
    return {};
}

struct Extension {
    int nid;
    std::string value;
};

// All that both kinds of certificate have in common. `issuer` may be `certificate` itself, whose
// subject is set.
Result<void> complete(X509* certificate, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                      Validity validity, const std::vector<Extension>& extensions) {
    FTVMM_TRY(set_serial(certificate));
    FTVMM_TRY(set_validity(certificate, validity));
    if (X509_set_version(certificate, X509_VERSION_3) != 1 ||
        X509_set_pubkey(certificate, key) != 1 ||
        X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1) {
        return openssl_failure("a new certificate");
    }
    for (const Extension& extension : extensions)
        FTVMM_TRY(add_extension(certificate, issuer, extension.nid, extension.value.c_str()));
    if (X509_sign(certificate, issuer_key, EVP_sha256()) == 0) {
        return openssl_failure("signing a certificate");
    }
    return {};
}

Result<Credential> as_texts(X509* certificate, EVP_PKEY* key) {
    FTVMM_ASSIGN(std::string certificate_pem, certificate_text(certificate));
    FTVMM_ASSIGN(std::string key_pem, key_text(key));
    return Credential{.certificate = std::move(certificate_pem), .key = std::move(key_pem)};
}

}  // namespace

Validity Validity::starting(std::chrono::sys_seconds now, std::chrono::days days) {
    return {.from = now - kClocksBehind, .until = now + days};
}

bool is_host_name(std::string_view name) {
    if (name.empty() || name.size() > kMostNameBytes) return false;
    std::string_view last;
    for (std::string_view rest = name;;) {
        const std::size_t dot = rest.find('.');
        last = rest.substr(0, dot);
        if (!is_label(last)) return false;
        if (dot == std::string_view::npos) break;
        rest.remove_prefix(dot + 1);
    }
    // 192.0.2.1 is an address, and a name's last part is never a number.
    return !std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_cluster_name(std::string_view name) {
    return !name.empty() && name.size() <= kMostLabelBytes && name.front() != ' ' &&
           name.back() != ' ' && std::ranges::all_of(name, [](char c) {
               return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
                      c == ' ';
           });
}

Result<Credential> make_authority(const std::string& cluster, Validity validity) {
    if (!is_cluster_name(cluster)) {
        return fail(fmt::format("\"{}\" is no name for a cluster", cluster),
                    "use 1 to 63 of the characters a-z, A-Z, 0-9, -, _ and blank");
    }
    std::array<unsigned char, 8> number{};
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr certificate(X509_new());
    if (!key || !certificate || RAND_bytes(number.data(), number.size()) != 1) {
        return openssl_failure("a new key");
    }
    X509_NAME* const name = X509_get_subject_name(certificate.get());
    FTVMM_TRY(add_name(name, "O", "ftvmm cluster"));
    FTVMM_TRY(add_name(name, "CN", cluster));
    FTVMM_TRY(add_name(name, "serialNumber", fmt::format("{:02x}", fmt::join(number, ""))));
    FTVMM_TRY(complete(certificate.get(), key.get(), certificate.get(), key.get(), validity,
                       {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                        {NID_key_usage, "critical,keyCertSign,cRLSign"},
                        {NID_subject_key_identifier, "hash"},
                        {NID_authority_key_identifier, "keyid:always"}}));
    return as_texts(certificate.get(), key.get());
}

Result<Credential> issue(const Credential& authority, const std::string& host, Validity validity) {
    if (!is_host_name(host)) {
        return fail(fmt::format("\"{}\" is no name for a host", host),
                    "use its DNS name in small letters, no address");
    }
    FTVMM_ASSIGN(const X509Ptr issuer, read_certificate(authority.certificate));
    FTVMM_ASSIGN(const KeyPtr issuer_key, read_key(authority.key));
    if (X509_check_ca(issuer.get()) == 0) return fail("the certificate is of no authority");
    if (X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
        return openssl_failure("the authority's key is not the one of its certificate");
    }
    FTVMM_ASSIGN(const CertificateFacts facts, read_facts(authority.certificate));
    if (facts.until <= validity.from) {
        return fail("the authority's certificate ended on " + to_text(facts.until),
                    "make a new one with: ftvmm pki init");
    }
    validity.until = std::min(validity.until, facts.until);
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr certificate(X509_new());
    if (!key || !certificate) return openssl_failure("a new key");
    // RFC 5280's upper bound for a common name is 64: the whole name stands in the next extension.
    FTVMM_TRY(add_name(X509_get_subject_name(certificate.get()), "CN",
                       host.substr(0, kMostLabelBytes + 1)));
    FTVMM_TRY(complete(certificate.get(), key.get(), issuer.get(), issuer_key.get(), validity,
                       {{NID_basic_constraints, "critical,CA:FALSE"},
                        {NID_key_usage, "critical,digitalSignature"},
                        {NID_ext_key_usage, "serverAuth,clientAuth"},
                        {NID_subject_alt_name, "DNS:" + host},
                        {NID_subject_key_identifier, "hash"},
                        {NID_authority_key_identifier, "keyid:always"}}));
    return as_texts(certificate.get(), key.get());
}

}  // namespace ftvmm::pki
