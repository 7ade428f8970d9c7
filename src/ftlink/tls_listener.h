// Takes connections from the hosts of the cluster, and lives through those of anybody else.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "ftlink/refusal_log.h"
#include "ftlink/tls_channel.h"
#include "ftlink/tls_context.h"
#include "ftlink/tls_opening.h"

namespace ftvmm::ftlink {

struct TlsListenerOptions {
    TlsAddress address{};                 // Port 0: any that is free.
    std::vector<std::string> expected{};  // The hosts that may come; empty: any of the cluster.
    TlsPatience patience{};
    // That have not shown who they are: each takes about 80 KiB and a descriptor. One more, and the
    // oldest goes, so that a host of the cluster is never kept out by those that just stand there.
    std::size_t most_half_open = 64;
};

// Each refusal is a line in the log with the peer's address and the reason. The io_context's
// thread.
class TlsListener : public std::enable_shared_from_this<TlsListener> {
  public:
    // A host that has shown who it is.
    using Accepted = std::function<void(std::shared_ptr<TlsChannel>)>;

    static Result<std::shared_ptr<TlsListener>> listen(boost::asio::io_context& io,
                                                       TlsContext context,
                                                       TlsListenerOptions options, LogLine log,
                                                       Accepted accepted);
    TlsListener(boost::asio::io_context& io, TlsContext context, TlsListenerOptions options,
                LogLine log, Accepted accepted);
    TlsListener(const TlsListener&) = delete;
    TlsListener& operator=(const TlsListener&) = delete;
    ~TlsListener();

    // Neither `accepted` nor the log is called any more.
    void close();

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::size_t half_open() const { return half_open_.size(); }
    [[nodiscard]] RefusalLog& refusals() { return refusals_; }

  private:
    // How long the listener rests where the process has no descriptor or memory to spare.
    static constexpr std::chrono::milliseconds kRest{100};

    [[nodiscard]] Result<void> open();
    void accept_next();
    void on_accept(const boost::system::error_code& error, boost::asio::ip::tcp::socket socket);
    void rest();
    void make_room(std::size_t most, const char* why);

    TlsContext context_;
    TlsListenerOptions options_;
    Accepted accepted_;
    RefusalLog refusals_;
    SystemClock clock_;
    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer rest_timer_;
    boost::asio::ip::tcp::endpoint coming_from_;
    std::uint16_t port_ = 0;
    std::list<std::shared_ptr<TlsOpening>> half_open_;  // The oldest first.
    bool is_closed_ = false;
};

}  // namespace ftvmm::ftlink
