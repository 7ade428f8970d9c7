// Frames over a channel whose ends are a pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "ftlink/frame.h"
#include "ftlink/greeting_driver.h"
#include "ftlink/link_options.h"
#include "ftlink/tls_channel.h"

namespace ftvmm::ftlink {

// It keeps itself alive while the channel is open. The io_context's thread.
class LinkDriver : public std::enable_shared_from_this<LinkDriver> {
  public:
    struct Handlers {
        // Whether one more frame may be taken. Where not, nothing more is read until resume().
        std::function<bool()> may_take;
        // A frame came. An error ends the link.
        std::function<Result<void>(const Frame&)> take;
        // What there is to say may go out: frames were taken, or what was queued went off.
        std::function<void()> turn;
        // The last call of all.
        std::function<void(LinkLost)> lost;
    };

    static std::shared_ptr<LinkDriver> start(Greeted greeted, Handlers handlers);
    LinkDriver(Greeted greeted, Handlers handlers);

    // Queued; flush() sends it off.
    void send(OutgoingFrame&& frame);
    void flush() { channel_->flush(); }
    [[nodiscard]] std::size_t unwritten_bytes() const { return channel_->unwritten_bytes(); }
    // Of this connection, its greeting included; neither falls. They tell a silent peer from one
    // whose large frame is still on its way. Nothing is received while is_paused(), and what is
    // written is with this host's kernel: that proves nothing about the peer.
    [[nodiscard]] std::uint64_t received_bytes() const { return channel_->received_bytes(); }
    [[nodiscard]] std::uint64_t written_bytes() const { return channel_->written_bytes(); }
    // may_take() may say something else now.
    void resume();
    [[nodiscard]] bool is_paused() const { return is_paused_; }
    // What is queued goes out, then nothing. The other end may speak on until it leaves too.
    void finish_writing() { channel_->finish_writing(); }
    // No handler is called any more.
    void close();

  private:
    void take_all();
    void lose(LinkLost lost);

    std::shared_ptr<TlsChannel> channel_;
    FrameDecoder decoder_;
    Handlers handlers_;
    bool is_paused_ = false;
    bool is_closed_ = false;
};

}  // namespace ftvmm::ftlink
