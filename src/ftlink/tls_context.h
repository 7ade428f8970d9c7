// Who this host is to others, and whom it believes: TLS 1.3 with certificates on both ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "base/result.h"
#include "pki/pki_folder.h"

namespace ftvmm::ftlink {

// The other host's certificate takes less than 1 KiB, and nobody stands between it and the
// authority.
inline constexpr long kMostChainBytes = 8L << 10;

// TLS 1.3 and nothing older, no session that is taken up again, no renegotiation, no compression,
// no early data; the peer shows a certificate that the cluster's authority itself has signed. May
// be copied, and shared by any number of connections of one thread.
class TlsContext {
  public:
    using WallClock = std::function<std::chrono::sys_seconds()>;

    // The time of day of this host, which certificates are held against.
    static std::chrono::sys_seconds system_time();

    // An error: these are no certificates, they do not belong together, or this host's own is not
    // valid now, which says how its clock stands.
    static Result<TlsContext> create(const pki::HostIdentity& identity,
                                     WallClock clock = system_time);

    [[nodiscard]] boost::asio::ssl::context& ssl() const { return *ssl_; }
    [[nodiscard]] std::chrono::sys_seconds now() const { return clock_(); }
    // The name in this host's own certificate.
    [[nodiscard]] const std::string& host() const { return host_; }

  private:
    TlsContext(std::shared_ptr<boost::asio::ssl::context> ssl, WallClock clock, std::string host)
        : ssl_(std::move(ssl)), clock_(std::move(clock)), host_(std::move(host)) {}

    std::shared_ptr<boost::asio::ssl::context> ssl_;
    WallClock clock_;
    std::string host_;
};

}  // namespace ftvmm::ftlink
