// A connection that may become a channel: TCP's options, TLS's handshake, and a deadline for both.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "ftlink/tls_address.h"
#include "ftlink/tls_channel.h"
#include "ftlink/tls_context.h"

namespace ftvmm::ftlink {

// "192.0.2.1:4242", "[2001:db8::1]:4242".
[[nodiscard]] std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint);
[[nodiscard]] Result<boost::asio::ip::tcp::endpoint> endpoint_of(const TlsAddress& address);

// One attempt. It keeps itself alive until `done` was called, which happens once, and never from
// within a call of its own; or until close(). The io_context's thread.
class TlsOpening : public std::enable_shared_from_this<TlsOpening> {
  public:
    // Why there is no channel.
    struct Failed {
        Error why;
        bool host_answers = false;  // As in ChannelEnd.
    };
    using Opened = tl::expected<std::shared_ptr<TlsChannel>, Failed>;
    using Done = std::function<void(Opened)>;

    // `expected`: the hosts that the peer may be; empty: any of the cluster. `socket` is open, or
    // will be by connect().
    TlsOpening(boost::asio::ip::tcp::socket socket, TlsContext context,
               std::vector<std::string> expected, TlsPatience patience, Done done);
    TlsOpening(const TlsOpening&) = delete;
    TlsOpening& operator=(const TlsOpening&) = delete;
    ~TlsOpening();

    void connect(const boost::asio::ip::tcp::endpoint& endpoint);
    // The socket is one that came in from `endpoint`.
    void accept(const boost::asio::ip::tcp::endpoint& endpoint);
    // Ends with `why`.
    void give_up(Error why);
    // Ends without a word.
    void close();

    [[nodiscard]] const std::string& address() const { return address_; }

  private:
    using Kind = boost::asio::ssl::stream_base::handshake_type;

    [[nodiscard]] bool is_over() const { return !done_ || gave_up_; }
    void begin_handshake(Kind kind);
    [[nodiscard]] Result<void> set_options();
    [[nodiscard]] Result<void> expect_peer(bool is_client);
    void limit(std::chrono::milliseconds patience, const char* what);
    void on_handshake(const boost::system::error_code& error);
    void fail_with(const boost::system::error_code& error);
    void finish(Opened opened);

    std::unique_ptr<TlsStream> stream_;
    TlsContext context_;
    std::vector<std::string> expected_;
    TlsPatience patience_;
    Done done_;
    std::string address_;
    boost::asio::steady_timer timer_;
    std::optional<Error> not_trusted_;
    std::optional<Error> gave_up_;
};

// Connects to `address`, where one of `expected` must be. `done` is called once, unless the attempt
// is closed.
[[nodiscard]] Result<std::shared_ptr<TlsOpening>> tls_connect(
    boost::asio::io_context& io, const TlsContext& context, const TlsAddress& address,
    std::vector<std::string> expected, const TlsPatience& patience, TlsOpening::Done done);

}  // namespace ftvmm::ftlink
