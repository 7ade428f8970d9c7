#include "ftlink/link_driver.h"

#include <span>
#include <utility>

namespace ftvmm::ftlink {

std::shared_ptr<LinkDriver> LinkDriver::start(Greeted greeted, Handlers handlers) {
    auto driver = std::make_shared<LinkDriver>(std::move(greeted), std::move(handlers));
    // The handlers keep the driver; closing the channel lets go of it.
    driver->channel_->start({.received =
                                 [driver](std::span<const std::byte> bytes) {
                                     driver->decoder_.feed(bytes);
                                     driver->take_all();
                                 },
                             .written = [driver] { driver->handlers_.turn(); },
                             .ended =
                                 [driver](ChannelEnd end) {
                                     driver->lose({std::move(end.why), end.host_answers});
                                 }});
    // What came behind the greeting waits until the owner knows of this object.
    driver->is_paused_ = true;
    return driver;
}

LinkDriver::LinkDriver(Greeted greeted, Handlers handlers)
    : channel_(std::move(greeted.channel)),
      decoder_(std::move(greeted.decoder)),
      handlers_(std::move(handlers)) {}

void LinkDriver::send(OutgoingFrame&& frame) {
    channel_->queue(std::span<const std::byte>(frame.header));
    channel_->queue(std::move(frame.payload));
}

void LinkDriver::resume() {
    if (is_closed_ || !std::exchange(is_paused_, false)) return;
    take_all();
}

void LinkDriver::take_all() {
    const auto self = shared_from_this();
    while (!is_closed_) {
        if (!handlers_.may_take()) {
            is_paused_ = true;
            break;
        }
        const auto frame = decoder_.next();
        if (!frame) {
            lose({frame.error(), true});
            return;
        }
        if (!*frame) {
            channel_->read();
            break;
        }
        if (const auto taken = handlers_.take(**frame); !taken) {
            lose({taken.error(), true});
            return;
        }
    }
    if (!is_closed_) handlers_.turn();
}

void LinkDriver::lose(LinkLost lost) {
    if (is_closed_) return;
    close();
    handlers_.lost(std::move(lost));
}

void LinkDriver::close() {
    is_closed_ = true;
    channel_->close();
}

}  // namespace ftvmm::ftlink
