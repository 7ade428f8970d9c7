#include "ftlink/tls_channel.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>

#include "base/check.h"
#include "ftlink/tls_refusal.h"
#include "pki/openssl.h"

namespace ftvmm::ftlink {

namespace asio = boost::asio;

TlsChannel::TlsChannel(std::unique_ptr<TlsStream> stream, TlsPeer peer,
                       std::uint64_t records_per_key)
    : stream_(std::move(stream)),
      peer_(std::move(peer)),
      records_per_key_(records_per_key),
      read_buffer_(kReadBytes) {}

TlsChannel::~TlsChannel() = default;

void TlsChannel::start(Handlers handlers) {
    handlers_ = std::move(handlers);
}

void TlsChannel::read() {
    FTVMM_CHECK(!is_reading_, "one read at a time");
    if (is_closed_) return;
    is_reading_ = true;
    stream_->async_read_some(asio::buffer(read_buffer_),
                             [self = shared_from_this()](const auto& error, std::size_t bytes) {
                                 self->on_read(error, bytes);
                             });
}

void TlsChannel::on_read(const boost::system::error_code& error, std::size_t bytes) {
    is_reading_ = false;
    if (is_closed_) return;
    if (error) {
        end(error);
        return;
    }
    received_ += bytes;
    // A copy: the handler may close this channel, which forgets the handlers.
    const auto received = handlers_.received;
    received(std::span(read_buffer_).first(bytes));
}

void TlsChannel::queue(std::span<const std::byte> bytes) {
    if (bytes.empty() || is_closed_) return;
    FTVMM_CHECK(!finishes_, "nothing is queued behind the end");
    unwritten_ += bytes.size();
    // The first one is out of reach while it is on its way.
    const std::size_t in_flight = is_writing_ ? 1 : 0;
    const bool fits =
        queue_.size() > in_flight && queue_.back().size() + bytes.size() <= kRecordBytes;
    if (!fits) queue_.push_back(std::exchange(spare_, {}));
    queue_.back().insert(queue_.back().end(), bytes.begin(), bytes.end());
}

void TlsChannel::queue(std::vector<std::byte>&& bytes) {
    if (bytes.size() < kRecordBytes) {
        queue(std::span(bytes));
        return;
    }
    if (is_closed_) return;
    FTVMM_CHECK(!finishes_, "nothing is queued behind the end");
    unwritten_ += bytes.size();
    queue_.push_back(std::move(bytes));
}

void TlsChannel::flush() {
    if (!is_writing_ && !is_broken_ && !is_closed_ && !queue_.empty()) write_some();
}

void TlsChannel::write_some() {
    is_writing_ = true;
    if (++records_ > records_per_key_) {
        // Goes in front of the next record. Refused only where another one waits to go.
        (void)SSL_key_update(stream_->native_handle(), SSL_KEY_UPDATE_NOT_REQUESTED);
        records_ = 0;
    }
    const auto rest = std::span(queue_.front()).subspan(front_at_);
    stream_->async_write_some(asio::buffer(rest.data(), std::min(rest.size(), kRecordBytes)),
                              [self = shared_from_this()](const auto& error, std::size_t bytes) {
                                  self->on_written(error, bytes);
                              });
}

void TlsChannel::on_written(const boost::system::error_code& error, std::size_t bytes) {
    is_writing_ = false;
    if (is_closed_) return;
    if (error) {
        is_broken_ = true;
        // What the other end said last tells more than that it takes nothing: reading ends it.
        const bool is_socket = error.category() == boost::system::system_category();
        if (!is_reading_ || !is_socket) end(error);
        return;
    }
    unwritten_ -= bytes;
    written_ += bytes;
    front_at_ += bytes;
    if (front_at_ == queue_.front().size()) {
        if (queue_.front().capacity() <= 2 * kRecordBytes) spare_ = std::move(queue_.front());
        spare_.clear();
        queue_.pop_front();
        front_at_ = 0;
    }
    // First what this is told: it may have more for the same record.
    const auto written = handlers_.written;
    if (written) written();
    if (is_closed_ || is_writing_) return;
    if (!queue_.empty()) {
        write_some();
    } else if (finishes_) {
        shut_writing();
    }
}

void TlsChannel::finish_writing() {
    if (is_closed_ || finishes_) return;
    finishes_ = true;
    if (queue_.empty()) {
        shut_writing();
    } else {
        flush();
    }
}

void TlsChannel::shut_writing() {
    boost::system::error_code ignored;
    stream_->next_layer().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

Result<ChannelEndpoints> TlsChannel::endpoints() const {
    boost::system::error_code error;
    const auto local = stream_->next_layer().local_endpoint(error);
    if (error) return Failure(Error::from_errno(error.value(), "this end of the connection"));
    const auto peer = stream_->next_layer().remote_endpoint(error);
    if (error) return Failure(Error::from_errno(error.value(), "the connection's other end"));
    return ChannelEndpoints{{local.address().to_string(), local.port()},
                            {peer.address().to_string(), peer.port()}};
}

Result<ChannelSecret> TlsChannel::derive_secret(std::string_view label) const {
    ChannelSecret secret{};
    const int done = SSL_export_keying_material(
        stream_->native_handle(), reinterpret_cast<unsigned char*>(secret.data()), secret.size(),
        label.data(), label.size(), nullptr, 0, 0);
    if (done != 1) return pki::openssl_failure("a secret of the connection");
    return secret;
}

void TlsChannel::end(const boost::system::error_code& error) {
    const auto ended = handlers_.ended;
    close();
    if (ended) ended({.why = why_ended(error, std::nullopt), .host_answers = host_answers(error)});
}

void TlsChannel::close() {
    if (std::exchange(is_closed_, true)) return;
    handlers_ = {};
    boost::system::error_code ignored;
    stream_->next_layer().close(ignored);
}

}  // namespace ftvmm::ftlink
