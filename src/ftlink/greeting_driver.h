// A greeting on a channel, with a deadline.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "ftlink/frame.h"
#include "ftlink/greeting.h"
#include "ftlink/link_options.h"
#include "ftlink/tls_channel.h"

namespace ftvmm::ftlink {

// A channel whose ends have agreed to be a pair. Nobody reads it; what came behind the greeting is
// in the decoder.
struct Greeted {
    std::shared_ptr<TlsChannel> channel;
    FrameDecoder decoder;
    Hello peer;
};

// It keeps itself alive until it is over; the last word of a refusal is waited for. The
// io_context's thread.
class GreetingDriver : public std::enable_shared_from_this<GreetingDriver> {
  public:
    // Called once, and not after close().
    using Done = std::function<void(tl::expected<Greeted, LinkLost>)>;

    static std::shared_ptr<GreetingDriver> start(boost::asio::io_context& io,
                                                 std::shared_ptr<TlsChannel> channel,
                                                 Greeting greeting,
                                                 std::chrono::milliseconds patience, Done done);
    GreetingDriver(boost::asio::io_context& io, std::shared_ptr<TlsChannel> channel,
                   Greeting greeting, Done done);

    void close();
    // "b at 192.0.2.1:4242".
    [[nodiscard]] std::string peer_text() const;

  private:
    // Of a refusal: how long the other host may take to read it and leave.
    static constexpr std::chrono::milliseconds kLastWord{1000};

    void begin(std::chrono::milliseconds patience);
    void on_received(std::span<const std::byte> bytes);
    [[nodiscard]] Result<void> take_all();
    void say_all();
    void fail_with(LinkLost lost);
    void limit(std::chrono::milliseconds patience);

    std::shared_ptr<TlsChannel> channel_;
    Greeting greeting_;
    FrameDecoder decoder_;
    Done done_;
    boost::asio::steady_timer timer_;
};

}  // namespace ftvmm::ftlink
