#include "pki/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <climits>

namespace ftvmm::pki {

namespace {

// OpenSSL asks for a password where a key has one: there is nobody to ask.
int no_password(char*, int, int, void*) {
    return -1;
}

}  // namespace

Failure openssl_failure(std::string_view what) {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    return fail(std::string(what) + ": " + (reason == nullptr ? "OpenSSL says no more" : reason));
}

Result<BioPtr> reader_of(std::string_view text) {
    if (text.size() > INT_MAX) return fail("a text is too long for OpenSSL");
    BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    if (!bio) return openssl_failure("a buffer");
    return bio;
}

std::string text_of(BIO* memory) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(memory, &data);
    return size <= 0 ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

Result<X509Ptr> read_certificate(std::string_view pem) {
    FTVMM_ASSIGN(const BioPtr bio, reader_of(pem));
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
    if (!certificate) return openssl_failure("it is no certificate in PEM form");
    return certificate;
}

Result<KeyPtr> read_key(std::string_view pem) {
    FTVMM_ASSIGN(const BioPtr bio, reader_of(pem));
    KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
    if (!key) return openssl_failure("it is no private key in PEM form without a password");
    return key;
}

}  // namespace ftvmm::pki
