// How the two hosts of a pair find each other: one listens, the other connects, both greet.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "ftlink/greeting_driver.h"
#include "ftlink/link_options.h"
#include "ftlink/refusal_log.h"
#include "ftlink/tls_listener.h"
#include "ftlink/tls_opening.h"

namespace ftvmm::ftlink {

// Who listens lets the first host in with which it agrees, and waits on through all others; who
// connects tries once. The io_context's thread.
class MeetingDriver : public std::enable_shared_from_this<MeetingDriver> {
  public:
    // Called once, from the event loop, and not after close().
    using Done = std::function<void(tl::expected<Greeted, LinkLost>)>;
    // Hosts of the cluster that have not agreed yet. One more, and the oldest goes.
    static constexpr std::size_t kMostGreetings = 4;

    // An error: it can not be tried at all.
    static Result<std::shared_ptr<MeetingDriver>> start(boost::asio::io_context& io,
                                                        const LinkOptions& options, Done done);
    MeetingDriver(boost::asio::io_context& io, const LinkOptions& options, Done done);

    void close();
    // Where this host listens; 0 where it does not.
    [[nodiscard]] std::uint16_t port() const {
        return listener_ ? listener_->port() : std::uint16_t{0};
    }

  private:
    [[nodiscard]] Result<void> listen(const TlsContext& context);
    [[nodiscard]] Result<void> connect(const TlsContext& context);
    void on_channel(std::shared_ptr<TlsChannel> channel);
    void on_greeted(GreetingDriver* greeting, tl::expected<Greeted, LinkLost> greeted);
    void await_peer();
    void finish(tl::expected<Greeted, LinkLost> result);

    boost::asio::io_context& io_;
    LinkOptions options_;
    Done done_;
    RefusalLog refusals_;
    SystemClock clock_;
    boost::asio::steady_timer timer_;
    std::shared_ptr<TlsListener> listener_;
    std::shared_ptr<TlsOpening> opening_;
    std::list<std::shared_ptr<GreetingDriver>> greetings_;  // The oldest first.
    std::string last_refusal_;
};

}  // namespace ftvmm::ftlink
