#include "ftlink/meeting_driver.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
namespace ftvmm::ftlink {

Result<std::shared_ptr<MeetingDriver>> MeetingDriver::start(boost::asio::io_context& io,
                                                            const LinkOptions& options, Done done) {
    FTVMM_ASSIGN(const TlsContext context, TlsContext::create(options.identity));
    // Here rather than when somebody comes.
    FTVMM_TRY(encode_hello(options.hello));
    if (options.hello.host != context.host()) {
        return fail(fmt::format("this host is {}, and its certificate is for {}",
                                options.hello.host, context.host()),
                    "give each host the folder that was made for it");
    }
    auto meeting = std::make_shared<MeetingDriver>(io, options, std::move(done));
    FTVMM_TRY(options.way == LinkOptions::Way::kListens ? meeting->listen(context)
                                                        : meeting->connect(context));
    return meeting;
}

MeetingDriver::MeetingDriver(boost::asio::io_context& io, const LinkOptions& options, Done done)
    : io_(io),
      options_(options),
      done_(std::move(done)),
      refusals_([this](const std::string& line) {
          if (options_.log) options_.log(line);
      }),
      timer_(io) {}

Result<void> MeetingDriver::listen(const TlsContext& context) {
    FTVMM_ASSIGN(listener_, TlsListener::listen(
                                io_, context,
                                {.address = options_.address,
                                 .expected = options_.peer_hosts,
                                 .patience = options_.patience},
                                [weak = weak_from_this()](const std::string& line) {
                                    const auto self = weak.lock();
                                    if (!self) return;
                                    self->last_refusal_ = line;
                                    if (self->options_.log) self->options_.log(line);
                                },
                                [weak = weak_from_this()](auto channel) {
                                    if (const auto self = weak.lock())
                                        self->on_channel(std::move(channel));
                                }));
    await_peer();
    return {};
}

Result<void> MeetingDriver::connect(const TlsContext& context) {
    auto done = [weak = weak_from_this()](TlsOpening::Opened opened) {
        const auto self = weak.lock();
        if (!self || !self->done_) return;
        if (opened) {
            self->on_channel(std::move(*opened));
            return;
        }
        const auto& failed = opened.error();
        const std::string context_text =
            fmt::format("connecting to {} at {}", fmt::join(self->options_.peer_hosts, " or "),
                        self->opening_->address());
        self->finish(
            tl::unexpected(LinkLost{failed.why.with_context(context_text), failed.host_answers}));
    };
    FTVMM_ASSIGN(opening_, tls_connect(io_, context, options_.address, options_.peer_hosts,
                                       options_.patience, std::move(done)));
    return {};
}

void MeetingDriver::on_channel(std::shared_ptr<TlsChannel> channel) {
    const auto side = options_.way == LinkOptions::Way::kListens ? Greeting::Side::kAccepts
                                                                 : Greeting::Side::kConnects;
    auto greeting = Greeting::create(options_.hello, side, channel->peer().host);
    FTVMM_CHECK(greeting.has_value(), "the hello was encoded before");
    if (greetings_.size() >= kMostGreetings) {
        refusals_.refused(greetings_.front()->peer_text(), "others came, and it had not agreed",
                          clock_.now());
        greetings_.front()->close();
        greetings_.pop_front();
    }
    const auto place = greetings_.emplace(greetings_.end());
    *place = GreetingDriver::start(
        io_, std::move(channel), std::move(*greeting), options_.greeting,
        [weak = weak_from_this(), place](tl::expected<Greeted, LinkLost> greeted) {
            const auto self = weak.lock();
            if (!self || !self->done_) return;
            const auto greeting_driver = *place;
            self->greetings_.erase(place);
            self->on_greeted(greeting_driver.get(), std::move(greeted));
        });
}

void MeetingDriver::on_greeted(GreetingDriver* greeting, tl::expected<Greeted, LinkLost> greeted) {
    if (greeted) {
        finish(std::move(greeted));
        return;
    }
    const std::string who = greeting->peer_text();
    if (options_.way == LinkOptions::Way::kConnects) {
        LinkLost lost = std::move(greeted.error());
        lost.why = lost.why.with_context(who);
        finish(tl::unexpected(std::move(lost)));
        return;
    }
    last_refusal_ = fmt::format("refused {}: {}", who, greeted.error().why.line());
    refusals_.refused(who, greeted.error().why.line(), clock_.now());
}

void MeetingDriver::await_peer() {
    timer_.expires_after(options_.await_peer);
    timer_.async_wait([weak = weak_from_this()](const auto& error) {
        const auto self = weak.lock();
        if (error || !self || !self->done_) return;
        const std::string last = self->last_refusal_.empty()
                                     ? "nobody came at all"
                                     : "the last that came: " + self->last_refusal_;
        self->finish(
            tl::unexpected(LinkLost{Error(fmt::format("{} was not there within {} ms; {}",
                                                      fmt::join(self->options_.peer_hosts, " or "),
                                                      self->options_.await_peer.count(), last)),
                                    false}));
    });
}

void MeetingDriver::finish(tl::expected<Greeted, LinkLost> result) {
    const auto self = shared_from_this();
    const auto done = std::exchange(done_, {});
    close();
    if (done) done(std::move(result));
}

void MeetingDriver::close() {
    done_ = {};
    timer_.cancel();
    if (listener_) listener_->close();
    if (opening_) opening_->close();
    for (const auto& greeting : std::exchange(greetings_, {}))
        greeting->close();
}

}  // namespace ftvmm::ftlink
