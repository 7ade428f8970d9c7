// Why a connection was refused, for people.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ssl/verify_context.hpp>
#include <boost/system/error_code.hpp>

#include "base/result.h"

namespace ftvmm::ftlink {

// What the other host's certificate was refused for, while OpenSSL looks at it. `expected`: the
// hosts that it may be of; empty: any of the cluster. `now`: what it was held against.
[[nodiscard]] Error why_not_trusted(boost::asio::ssl::verify_context& context,
                                    const std::vector<std::string>& expected,
                                    std::chrono::sys_seconds now);

// What ended a TLS connection or its handshake. `not_trusted` is why_not_trusted(), where it was
// called.
[[nodiscard]] Error why_ended(const boost::system::error_code& error,
                              const std::optional<Error>& not_trusted);

// Whether the other host's kernel said that the connection is over, or never was: the host lives,
// but perhaps not who was there.
[[nodiscard]] bool host_answers(const boost::system::error_code& error);

}  // namespace ftvmm::ftlink
