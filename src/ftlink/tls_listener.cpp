#include "ftlink/tls_listener.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

namespace ftvmm::ftlink {

namespace asio = boost::asio;
using asio::ip::tcp;

Result<std::shared_ptr<TlsListener>> TlsListener::listen(asio::io_context& io, TlsContext context,
                                                         TlsListenerOptions options, LogLine log,
                                                         Accepted accepted) {
    auto listener = std::make_shared<TlsListener>(io, std::move(context), std::move(options),
                                                  std::move(log), std::move(accepted));
    FTVMM_TRY(listener->open());
    listener->accept_next();
    return listener;
}

TlsListener::TlsListener(asio::io_context& io, TlsContext context, TlsListenerOptions options,
                         LogLine log, Accepted accepted)
    : context_(std::move(context)),
      options_(std::move(options)),
      accepted_(std::move(accepted)),
      refusals_(std::move(log)),
      acceptor_(io),
      rest_timer_(io) {}

TlsListener::~TlsListener() = default;

Result<void> TlsListener::open() {
    FTVMM_ASSIGN(const tcp::endpoint endpoint, endpoint_of(options_.address));
    boost::system::error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (!error) return {};
    return Failure(Error::from_errno(error.value(), "listening at " + to_text(endpoint),
                                     "give an address of this host, and a port that nobody uses"));
}

void TlsListener::accept_next() {
    if (is_closed_) return;
    acceptor_.async_accept(coming_from_,
                           [self = shared_from_this()](const auto& error, tcp::socket socket) {
                               self->on_accept(error, std::move(socket));
                           });
}

void TlsListener::on_accept(const boost::system::error_code& error, tcp::socket socket) {
    if (is_closed_) return;
    if (error) {
        const int number = error.value();
        if (number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM) {
            make_room(options_.most_half_open / 2, "this process has no descriptor to spare");
            rest();
        } else {
            // Who wanted to connect has gone already: accept(2), "Error handling".
            accept_next();
        }
        return;
    }
    make_room(options_.most_half_open - 1, "others came, and it had not shown who it is");
    // The list has an object for each that is under way, and loses it in any case but that it
    // closes.
    const auto place = half_open_.emplace(half_open_.end());
    auto done = [weak = weak_from_this(), place](TlsOpening::Opened opened) {
        const auto self = weak.lock();
        if (!self || self->is_closed_) return;
        const std::string address = (*place)->address();
        self->half_open_.erase(place);
        if (opened) {
            self->accepted_(std::move(*opened));
        } else {
            self->refusals_.refused(address, opened.error().why.line(), self->clock_.now());
        }
    };
    *place = std::make_shared<TlsOpening>(std::move(socket), context_, options_.expected,
                                          options_.patience, std::move(done));
    (*place)->accept(coming_from_);
    accept_next();
}

void TlsListener::make_room(std::size_t most, const char* why) {
    while (half_open_.size() > most) {
        const auto oldest = half_open_.front();
        half_open_.pop_front();
        oldest->close();
        refusals_.refused(oldest->address(), why, clock_.now());
    }
}

void TlsListener::rest() {
    rest_timer_.expires_after(kRest);
    rest_timer_.async_wait([weak = weak_from_this()](const auto& error) {
        const auto self = weak.lock();
        if (self && !error) self->accept_next();
    });
}

void TlsListener::close() {
    is_closed_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    rest_timer_.cancel();
    for (const auto& opening : std::exchange(half_open_, {}))
        opening->close();
}

}  // namespace ftvmm::ftlink
