#include "pki/certificate_facts.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include <array>
#include <ctime>
#include <span>

#include "pki/openssl.h"

namespace ftvmm::pki {

namespace {

// RFC 2253 without its backward order: short names of fields, and what is not ASCII is escaped.
constexpr unsigned long kNameFormat = ASN1_STRFLGS_RFC2253 | XN_FLAG_SEP_CPLUS_SPC;

std::string name_text(const X509_NAME* name) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || X509_NAME_print_ex(bio.get(), name, 0, kNameFormat) < 0) return "?";
    return text_of(bio.get());
}

std::string serial_text(const X509* certificate) {
    const BignumPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
    if (!number) return "?";
    char* const digits = BN_bn2hex(number.get());
    if (digits == nullptr) return "?";
    std::string text = digits;
    OPENSSL_free(digits);
    return text;
}

Result<std::chrono::sys_seconds> time_of(const ASN1_TIME* time) {
    std::tm fields{};
    if (ASN1_TIME_to_tm(time, &fields) != 1) return openssl_failure("a time in the certificate");
    return std::chrono::time_point_cast<std::chrono::seconds>(
        std::chrono::system_clock::from_time_t(::timegm(&fields)));
}

std::string printable(std::span<const unsigned char> bytes) {
    std::string text;
    for (const unsigned char byte : bytes)
        text.push_back(byte > ' ' && byte <= '~' ? static_cast<char>(byte) : '?');
    return text;
}

std::vector<std::string> dns_names(const X509* certificate) {
    const NamesPtr names(static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    std::vector<std::string> texts;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_DNS) continue;
        const auto size = static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName));
        texts.push_back(printable({ASN1_STRING_get0_data(name->d.dNSName), size}));
    }
    return texts;
}

std::string sha256_text(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return "?";
    return fmt::format("{:02x}", fmt::join(std::span(digest).first(size), ""));
}

}  // namespace

Result<CertificateFacts> facts_of(X509& certificate) {
    CertificateFacts facts;
    FTVMM_ASSIGN(facts.from, time_of(X509_get0_notBefore(&certificate)));
    FTVMM_ASSIGN(facts.until, time_of(X509_get0_notAfter(&certificate)));
    facts.subject = name_text(X509_get_subject_name(&certificate));
    facts.issuer = name_text(X509_get_issuer_name(&certificate));
    facts.serial = serial_text(&certificate);
    facts.is_authority = X509_check_ca(&certificate) == 1;
    facts.hosts = dns_names(&certificate);
    facts.sha256 = sha256_text(&certificate);
    return facts;
}

Result<CertificateFacts> read_facts(std::string_view pem) {
    FTVMM_ASSIGN(const X509Ptr certificate, read_certificate(pem));
    return facts_of(*certificate);
}

Result<bool> is_signed_by(std::string_view certificate, std::string_view authority) {
    FTVMM_ASSIGN(const X509Ptr subject, read_certificate(certificate));
    FTVMM_ASSIGN(const X509Ptr issuer, read_certificate(authority));
    const bool is_signed = X509_verify(subject.get(), X509_get0_pubkey(issuer.get())) == 1;
    ERR_clear_error();
    return is_signed;
}

std::string to_text(std::chrono::sys_seconds time) {
    return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

}  // namespace ftvmm::pki
