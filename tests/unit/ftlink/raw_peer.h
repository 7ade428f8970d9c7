// Somebody at the port who is no host of ftvmm's: plain sockets, or OpenSSL used as it should not
// be.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "base/fd.h"
#include "pki/certificate.h"
#include "pki/openssl.h"

namespace ftvmm::ftlink::testing {

inline Fd connect_to(std::uint16_t port) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return Fd();
    }
    return fd;
}

using SslContext = std::unique_ptr<SSL_CTX, pki::Freed<SSL_CTX_free>>;

// A client that believes everyone.
inline SslContext careless_client() {
    SslContext context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
    return context;
}

inline void show(SSL_CTX* context, const pki::Credential& host) {
    SSL_CTX_use_certificate(context, pki::read_certificate(host.certificate).value().get());
    SSL_CTX_use_PrivateKey(context, pki::read_key(host.key).value().get());
}

// Makes a TLS handshake in a thread of its own and waits for the other end to leave.
class RawTlsPeer {
  public:
    RawTlsPeer(SslContext context, std::uint16_t port)
        : context_(std::move(context)), thread_([this, port] { run(port); }) {}
    RawTlsPeer(const RawTlsPeer&) = delete;
    RawTlsPeer& operator=(const RawTlsPeer&) = delete;
    ~RawTlsPeer() { thread_.join(); }

  private:
    void run(std::uint16_t port) const {
        const Fd fd = connect_to(port);
        const std::unique_ptr<SSL, pki::Freed<SSL_free>> ssl(SSL_new(context_.get()));
        SSL_set_fd(ssl.get(), fd.get());
        if (SSL_connect(ssl.get()) != 1) return;
        char byte = 0;
        while (SSL_read(ssl.get(), &byte, 1) == 1) {
        }
    }

    SslContext context_;
    std::thread thread_;
};

}  // namespace ftvmm::ftlink::testing
