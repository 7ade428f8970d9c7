#include "ftlink/greeting_driver.h"

#include <fmt/format.h>

#include <utility>

namespace ftvmm::ftlink {

std::shared_ptr<GreetingDriver> GreetingDriver::start(boost::asio::io_context& io,
                                                      std::shared_ptr<TlsChannel> channel,
                                                      Greeting greeting,
                                                      std::chrono::milliseconds patience,
                                                      Done done) {
    auto driver = std::make_shared<GreetingDriver>(io, std::move(channel), std::move(greeting),
                                                   std::move(done));
    driver->begin(patience);
    return driver;
}

GreetingDriver::GreetingDriver(boost::asio::io_context& io, std::shared_ptr<TlsChannel> channel,
                               Greeting greeting, Done done)
    : channel_(std::move(channel)),
      greeting_(std::move(greeting)),
      done_(std::move(done)),
      timer_(io) {}

void GreetingDriver::begin(std::chrono::milliseconds patience) {
    // The handlers keep this object; closing the channel lets go of it.
    channel_->start(
        {.received = [self = shared_from_this()](auto bytes) { self->on_received(bytes); },
         .written = {},
         .ended =
             [self = shared_from_this()](ChannelEnd end) {
                 self->fail_with({std::move(end.why), end.host_answers});
                 self->close();
             }});
    say_all();
    channel_->read();
    limit(patience);
}

void GreetingDriver::on_received(std::span<const std::byte> bytes) {
    // Once it is over, what still comes only delays the end.
    if (!done_) {
        channel_->read();
        return;
    }
    decoder_.feed(bytes);
    const auto taken = take_all();
    if (!taken) {
        fail_with({taken.error(), true});
        return;
    }
    if (!greeting_.is_agreed()) {
        channel_->read();
        return;
    }
    timer_.cancel();
    const auto self = shared_from_this();
    channel_->start({});
    const auto done = std::exchange(done_, {});
    done(Greeted{std::move(channel_), std::move(decoder_), greeting_.peer()});
}

Result<void> GreetingDriver::take_all() {
    while (!greeting_.is_agreed()) {
        FTVMM_ASSIGN(const auto frame, decoder_.next());
        if (!frame) break;
        const auto taken = greeting_.step(*frame);
        say_all();
        FTVMM_TRY(taken);
    }
    // A hello is small; what is announced as more is no greeting.
    if (greeting_.is_agreed() ||
        decoder_.pending_bytes() <= kFrameHeaderBytes + kMaxHandshakeBytes) {
        return {};
    }
    return fail("it says more than a greeting has");
}

void GreetingDriver::say_all() {
    for (const OutgoingFrame& frame : greeting_.take_frames()) {
        channel_->queue(std::span<const std::byte>(frame.header));
        channel_->queue(std::span<const std::byte>(frame.payload));
    }
    channel_->flush();
}

void GreetingDriver::fail_with(LinkLost lost) {
    const auto done = std::exchange(done_, {});
    if (!done) {
        close();
        return;
    }
    limit(kLastWord);
    channel_->finish_writing();
    if (!channel_->is_reading()) channel_->read();
    done(tl::unexpected(std::move(lost)));
}

void GreetingDriver::limit(std::chrono::milliseconds patience) {
    timer_.expires_after(patience);
    timer_.async_wait([self = shared_from_this(), patience](const auto& error) {
        if (error) return;
        const auto done = std::exchange(self->done_, {});
        self->close();
        if (!done) return;
        done(tl::unexpected(LinkLost{
            Error(fmt::format("it did not agree to be a pair within {} ms", patience.count())),
            false}));
    });
}

std::string GreetingDriver::peer_text() const {
    return fmt::format("{} at {}", channel_->peer().host, channel_->peer().address);
}

void GreetingDriver::close() {
    const auto self = shared_from_this();
    done_ = {};
    timer_.cancel();
    if (channel_) channel_->close();
}

}  // namespace ftvmm::ftlink
