// A cluster of a test's own: its authority, and the hosts that it certifies.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "ftlink/tls_context.h"
#include "pki/certificate.h"
#include "pki/pki_folder.h"

namespace ftvmm::ftlink::testing {

inline constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};

class Cluster {
  public:
    explicit Cluster(std::chrono::sys_seconds now = kNow)
        : now_(now),
          authority_(pki::make_authority("one", pki::Validity::starting(now, pki::kAuthorityDays))
                         .value()) {}

    [[nodiscard]] pki::HostIdentity identity(const std::string& host,
                                             std::chrono::days days = pki::kHostDays) const {
        return {.authority = authority_.certificate,
                .host = pki::issue(authority_, host, pki::Validity::starting(now_, days)).value()};
    }
    // Of a host whose clock says `now`.
    [[nodiscard]] TlsContext context(const std::string& host, std::chrono::sys_seconds now = kNow,
                                     std::chrono::days days = pki::kHostDays) const {
        return TlsContext::create(identity(host, days), [now] { return now; }).value();
    }
    [[nodiscard]] const pki::Credential& authority() const { return authority_; }

  private:
    std::chrono::sys_seconds now_;
    pki::Credential authority_;
};

// Runs what is under way until `done`, or for so long that something hangs; whether it is done.
inline bool run_until(boost::asio::io_context& io, const std::function<bool()>& done,
                      std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    io.restart();
    while (!done() && std::chrono::steady_clock::now() < end)
        io.run_one_for(std::chrono::milliseconds(20));
    return done();
}

}  // namespace ftvmm::ftlink::testing
