// What a certificate says.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct x509_st;  // OpenSSL's X509.

namespace ftvmm::pki {

// No certificate is larger; a file with more is none.
inline constexpr std::size_t kMaxPemBytes = std::size_t{64} << 10U;

// Whoever made the certificate chose the texts: each is printable ASCII here, whatever it was.
struct CertificateFacts {
    std::string subject;  // "O=ftvmm cluster, CN=one, serialNumber=..."
    std::string issuer;
    std::string serial;  // Hexadecimal digits.
    std::chrono::sys_seconds from;
    std::chrono::sys_seconds until;
    bool is_authority = false;
    std::vector<std::string> hosts;  // The DNS names that it is for.
    std::string sha256;              // Of the whole certificate, hexadecimal digits.
};

// Of the first certificate in `pem`.
[[nodiscard]] Result<CertificateFacts> read_facts(std::string_view pem);
[[nodiscard]] Result<CertificateFacts> facts_of(x509_st& certificate);
// Whether the key of `authority` has signed `certificate`, whatever the time.
[[nodiscard]] Result<bool> is_signed_by(std::string_view certificate, std::string_view authority);
// "2031-02-03 04:05:06 UTC".
[[nodiscard]] std::string to_text(std::chrono::sys_seconds time);

}  // namespace ftvmm::pki
