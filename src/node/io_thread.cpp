#include "node/io_thread.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/quiet_thread.h"

namespace ftvmm::node {

namespace {

// What an event is about: one of these, or an index above kNics or kConsoles.
constexpr std::uint64_t kBell = 0;
constexpr std::uint64_t kNics = std::uint64_t{1} << 32U;
constexpr std::uint64_t kConsoles = std::uint64_t{2} << 32U;

}  // namespace

Result<std::unique_ptr<IoThread>> IoThread::start(IoOptions options, VcpuControl& control) {
    FTVMM_ASSIGN(Doorbell bell, Doorbell::create());
    FTVMM_ASSIGN(host::Epoll epoll, host::Epoll::create());
    auto io =
        std::make_unique<IoThread>(std::move(options), control, std::move(bell), std::move(epoll));
    FTVMM_TRY(io->watch_all());
    io->thread_ = quiet_thread([thread = io.get()] { thread->work(); });
    return io;
}

IoThread::IoThread(IoOptions options, VcpuControl& control, Doorbell bell, host::Epoll epoll)
    : control_(control),
      bell_(std::move(bell)),
      typed_serial_(kMaxTyped, control.waker(), bell_),
      typed_virtio_(kMaxTyped, control.waker(), bell_),
      prints_(kMaxPrints),
      epoll_(std::move(epoll)),
      consoles_(std::move(options.consoles)),
      console_failures_(consoles_.size()),
      grace_(options.grace),
      right_(options.right),
      log_(std::move(options.log)),
      scratch_(NicPort::kMaxFrameBytes) {
    for (host::Tap& tap : options.taps)
        nics_.emplace_back(std::move(tap), control.waker(), bell_, log_, options.right);
    watched_.resize(nics_.size());
}

IoThread::~IoThread() {
    stopping_ = true;
    bell_.ring();
    if (thread_.joinable()) thread_.join();
}

Result<void> IoThread::watch_all() {
    FTVMM_TRY(epoll_.add(bell_.fd(), EPOLLIN, kBell));
    for (std::size_t i = 0; i < nics_.size(); ++i)
        FTVMM_TRY(epoll_.add(nics_[i].tap().fd(), 0, kNics + i));
    for (std::size_t i = 0; i < consoles_.size(); ++i) {
        const int fd = consoles_[i].backend->fd();
        if (fd >= 0) FTVMM_TRY(epoll_.add(fd, EPOLLIN, kConsoles + i));
    }
    return {};
}

InputLane<IoThread::Bytes>& IoThread::typed(replay::ConsolePort port) {
    return port == replay::ConsolePort::kVirtio ? typed_virtio_ : typed_serial_;
}

bool IoThread::try_print(replay::output::ConsoleBytes&& output) {
    const std::size_t size = output.bytes.size();
    const auto try_push = [&] {
        // One that is larger than all may be is taken where it is alone.
        const std::size_t waiting = print_bytes_.load();
        if (waiting > 0 && waiting + size > kMaxPrintBytes) return false;
        print_bytes_ += size;
        const bool taken = prints_.try_push(std::move(output));
        if (!taken) print_bytes_ -= size;
        return taken;
    };
    bool pushed = try_push();
    if (!pushed) {
        print_starved_.exchange(1);
        pushed = try_push();
    }
    if (pushed) bell_.ring();
    return pushed;
}

void IoThread::work() {
    std::array<epoll_event, 32> room{};
    while (!stopping_) {
        bell_.before_sleep();
        // Whoever rings from here on is heard.
        settle();
        const auto events = epoll_.wait(room, patience_ms());
        bell_.after_sleep(std::ranges::any_of(
            events, [](const epoll_event& event) { return event.data.u64 == kBell; }));
        for (const epoll_event& event : events)
            on_event(event);
        if (power_ends_at_ && clock_.now() >= *power_ends_at_) {
            log_("the guest did not shut down in time: its power ends");
            power_ends_at_.reset();
            control_.stop();
        }
    }
    while (prints_.size() > 0 && may_print())
        print_all();
}

// Nothing while there is work, else until the grace has passed, rounded up.
int IoThread::patience_ms() const {
    constexpr int kLookForRightMs = 10;
    if (stopping_) return 0;
    if (prints_.size() > 0) return may_print() ? 0 : kLookForRightMs;
    if (!power_ends_at_) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*power_ends_at_ - clock_.now());
    constexpr std::chrono::milliseconds kHour{3600000};
    return static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), kHour).count());
}

void IoThread::on_event(const epoll_event& event) {
    const std::uint64_t tag = event.data.u64;
    if (tag >= kConsoles) {
        on_console(tag - kConsoles);
    } else if (tag >= kNics) {
        on_nic(tag - kNics, event.events);
    }
}

void IoThread::on_nic(std::size_t index, std::uint32_t events) {
    NicPort& nic = nics_[index];
    if ((events & EPOLLOUT) != 0) nic.on_writable();
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0 || nic.read_frames(scratch_)) return;
    epoll_.remove(nic.tap().fd());
    watched_[index].gone = true;
}

void IoThread::on_console(std::size_t index) {
    host::ConsoleBackend& console = *consoles_[index].backend;
    InputLane<Bytes>& lane = typed(consoles_[index].port);
    const bool had_left = console.left();
    const bool room = lane.has_room();
    if (!room) has_room_.at(static_cast<std::size_t>(consoles_[index].port)) = false;
    Bytes bytes = console.service(room ? kTypedBytes : 0);
    if (!bytes.empty()) lane.push(std::move(bytes));
    if (console.left() && !had_left) end_guest("the console's user left");
}

void IoThread::ask_to_end(const char* why) {
    asked_why_ = why;
    ++times_asked_;
    bell_.ring();
}

void IoThread::end_guest(const char* why) {
    if (power_ends_at_) {
        log_(fmt::format("{} again: the guest's power ends", why));
        control_.stop();
        return;
    }
    log_(fmt::format("{}: the guest is asked to shut down, its power ends in {} s", why,
                     grace_.count()));
    power_ends_at_ = clock_.now() + grace_;
    control_.press_power_button();
}

void IoThread::print_all() {
    // As much as the queue holds: the guest may print as fast as this does.
    for (std::size_t count = 0; count < kMaxPrints && may_print(); ++count) {
        const auto output = prints_.try_pop();
        if (!output) break;
        print_bytes_ -= output->bytes.size();
        for (std::size_t i = 0; i < consoles_.size(); ++i) {
            if (consoles_[i].port != output->port) continue;
            const auto printed = consoles_[i].backend->print(output->bytes);
            if (printed) continue;
            if (console_failures_[i].pass(clock_.now())) log_(printed.error().line());
        }
    }
    if (print_starved_.exchange(0) != 0) control_.waker().wake();
}

void IoThread::settle() {
    print_all();
    for (; times_heard_ < times_asked_; ++times_heard_)
        end_guest(asked_why_);
    for (const auto port : {replay::ConsolePort::kSerial, replay::ConsolePort::kVirtio}) {
        bool& has_room = has_room_.at(static_cast<std::size_t>(port));
        if (has_room || !typed(port).has_room()) continue;
        has_room = true;
        for (std::size_t i = 0; i < consoles_.size(); ++i) {
            if (consoles_[i].port == port) on_console(i);
        }
    }
    for (std::size_t i = 0; i < nics_.size(); ++i) {
        const std::uint32_t interest = nics_[i].interest();
        if (watched_[i].gone || interest == watched_[i].interest) continue;
        epoll_.modify(nics_[i].tap().fd(), interest, kNics + i);
        watched_[i].interest = interest;
    }
}

}  // namespace ftvmm::node
