// Owners of OpenSSL's objects, and its errors as ours.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ftvmm::pki {

template <auto Free>
struct Freed {
    template <class T>
    void operator()(T* object) const {
        (void)Free(object);
    }
};

using BioPtr = std::unique_ptr<BIO, Freed<BIO_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;

// "`what`: what OpenSSL says", of its newest error on this thread, whose others are forgotten.
Failure openssl_failure(std::string_view what);

// A view of `text` as OpenSSL reads files; `text` outlives it.
[[nodiscard]] Result<BioPtr> reader_of(std::string_view text);
// All that was written to `memory`, a BIO_s_mem().
[[nodiscard]] std::string text_of(BIO* memory);

// The first certificate of a PEM text.
[[nodiscard]] Result<X509Ptr> read_certificate(std::string_view pem);
// The private key of a PEM text, which no password protects.
[[nodiscard]] Result<KeyPtr> read_key(std::string_view pem);

}  // namespace ftvmm::pki
