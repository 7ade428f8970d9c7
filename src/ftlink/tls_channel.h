// A connection to a host of the cluster that has shown who it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "base/result.h"
#include "ftlink/tls_address.h"

namespace ftvmm::ftlink {

using TlsStream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;

// Who is at the other end.
struct TlsPeer {
    std::string host;     // The one name in its certificate.
    std::string address;  // "192.0.2.1:4242".
};

// Where a connection begins and ends; both hosts see the same two.
struct ChannelEndpoints {
    TlsAddress local;
    TlsAddress peer;
};

// What only the two ends of one connection know.
using ChannelSecret = std::array<std::byte, 32>;

// What has ended a connection.
struct ChannelEnd {
    Error why;
    // The other host lives: its kernel said that the connection is over. That proves nothing about
    // who used it.
    bool host_answers = false;
};

// Bytes both ways, in order. All calls and all callbacks on the io_context's one thread. What is
// read waits in the kernel until read() asks for it; what is queued waits here, and its user looks
// at unwritten_bytes(). TLS's own farewell is not used: an end of the stream proves nothing, only
// messages do.
class TlsChannel : public std::enable_shared_from_this<TlsChannel> {
  public:
    struct Handlers {
        // The answer to one read(): at least a byte, valid until the handler returns.
        std::function<void(std::span<const std::byte>)> received;
        // Some of what was queued is with the kernel.
        std::function<void()> written;
        // The last call of all. Bytes that came before the end were given to `received`, as far as
        // read() asked for them.
        std::function<void(ChannelEnd)> ended;
    };

    // Reads as much as a few of TLS's records at a time.
    static constexpr std::size_t kReadBytes = std::size_t{64} << 10U;
    // What bursts of small frames are gathered into: one record of TLS.
    static constexpr std::size_t kRecordBytes = std::size_t{16} << 10U;
    // A key of AES-GCM is good for 2^24.5 records (RFC 8446 5.5); each is used for fewer.
    static constexpr std::uint64_t kRecordsPerKey = std::uint64_t{1} << 22U;

    TlsChannel(std::unique_ptr<TlsStream> stream, TlsPeer peer,
               std::uint64_t records_per_key = kRecordsPerKey);
    TlsChannel(const TlsChannel&) = delete;
    TlsChannel& operator=(const TlsChannel&) = delete;
    ~TlsChannel();

    // Before anything else; or again, for another user, who does not call read() while one is under
    // way.
    void start(Handlers handlers);
    // One `received` more; again only after that.
    void read();
    [[nodiscard]] bool is_reading() const { return is_reading_; }
    // Behind what was queued before. The second takes the bytes over: no copy of large ones.
    void queue(std::span<const std::byte> bytes);
    void queue(std::vector<std::byte>&& bytes);
    // What was queued goes off at once; what is queued while it is on its way shares records.
    void flush();
    // Once all is written, the other end is told that no more comes. Reading goes on.
    void finish_writing();
    // No handler is called any more; what was not written is lost.
    void close();

    [[nodiscard]] std::size_t unwritten_bytes() const { return unwritten_; }
    // Of its whole life, whoever used it: what was given to `received`, and what the kernel took.
    [[nodiscard]] std::uint64_t received_bytes() const { return received_; }
    [[nodiscard]] std::uint64_t written_bytes() const { return written_; }
    [[nodiscard]] const TlsPeer& peer() const { return peer_; }
    // An error: it has ended.
    [[nodiscard]] Result<ChannelEndpoints> endpoints() const;
    // For use outside of the connection: the same at both ends for one `label`, and nobody else's,
    // nor that of any connection before or after (RFC 8446 7.5).
    [[nodiscard]] Result<ChannelSecret> derive_secret(std::string_view label) const;

  private:
    void write_some();
    void on_read(const boost::system::error_code& error, std::size_t bytes);
    void on_written(const boost::system::error_code& error, std::size_t bytes);
    void shut_writing();
    void end(const boost::system::error_code& error);

    std::unique_ptr<TlsStream> stream_;
    TlsPeer peer_;
    std::uint64_t records_per_key_;
    Handlers handlers_;
    std::vector<std::byte> read_buffer_;
    std::deque<std::vector<std::byte>> queue_;  // The first is on its way while is_writing_.
    std::size_t front_at_ = 0;                  // So much of the first has gone.
    std::vector<std::byte> spare_;              // Its memory is for the next small frames.
    std::size_t unwritten_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t written_ = 0;
    std::uint64_t records_ = 0;  // Under the key of now.
    bool is_reading_ = false;
    bool is_writing_ = false;
    bool is_broken_ = false;  // Nothing can be written any more.
    bool finishes_ = false;
    bool is_closed_ = false;
};

}  // namespace ftvmm::ftlink
