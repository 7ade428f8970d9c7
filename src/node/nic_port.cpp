#include "node/nic_port.h"

#include <fmt/core.h>
#include <sys/epoll.h>

#include <utility>

namespace ftvmm::node {

namespace {

// Frames read before the other descriptors get a look.
constexpr int kReadsAtOnce = 64;

}  // namespace

NicPort::NicPort(host::Tap tap, Waker& waker, Doorbell& io_bell, Log log, const OutputRight* right)
    : tap_(std::move(tap)),
      io_bell_(io_bell),
      waker_(waker),
      log_(std::move(log)),
      right_(right),
      lane_(kMaxFrames, waker, io_bell) {}

void NicPort::send(Frame frame) {
    send_waiting();
    if (waiting_.empty() && try_send(frame) == Sent::kDone) return;
    if (waiting_.size() == kMaxWaiting) {
        ++lost_;
        return;
    }
    waiting_.push_back(std::move(frame));
    if (!wants_to_write_.exchange(true)) io_bell_.ring();
}

void NicPort::send_waiting() {
    if (!waiting_.empty() && right_ != nullptr && !right_->holds()) {
        lost_ += waiting_.size();
        waiting_.clear();
    }
    while (!waiting_.empty() && try_send(waiting_.front()) == Sent::kDone)
        waiting_.pop_front();
    if (!waiting_.empty() && !wants_to_write_.exchange(true)) io_bell_.ring();
}

NicPort::Sent NicPort::try_send(const Frame& frame) {
    const auto written = tap_.write_frame(frame);
    if (written) return *written ? Sent::kDone : Sent::kHostFull;
    ++lost_;
    if (const auto held_back = failures_.pass(clock_.now())) {
        log_(fmt::format("{}: a frame of the guest is lost, {} before it were not shown",
                         written.error().line(), *held_back));
    }
    return Sent::kDone;
}

void NicPort::set_offload(const replay::output::NicOffload& offload) {
    const host::TapOffload wanted{offload.checksum, offload.tso4, offload.tso6, offload.ecn};
    if (const auto set = tap_.set_offload(wanted); !set) {
        log_(set.error().line() + ": the guest's network is slower than it could be");
    }
}

bool NicPort::read_frames(std::span<std::byte> scratch) {
    for (int i = 0; i < kReadsAtOnce && lane_.has_room(); ++i) {
        const auto length = tap_.read_frame(scratch);
        if (!length) {
            log_(length.error().line() + ": the guest's network card gets nothing any more");
            return false;
        }
        if (!*length) return true;
        const auto frame = scratch.first(**length);
        // A tap has no end; a descriptor that has one is no tap any more.
        if (frame.empty()) return false;
        lane_.push(Frame(frame.begin(), frame.end()));
    }
    return true;
}

std::uint32_t NicPort::interest() {
    std::uint32_t events = 0;
    if (lane_.has_room()) events |= EPOLLIN;
    if (wants_to_write_) events |= EPOLLOUT;
    return events;
}

void NicPort::on_writable() {
    if (wants_to_write_.exchange(false)) waker_.wake();
}

}  // namespace ftvmm::node
