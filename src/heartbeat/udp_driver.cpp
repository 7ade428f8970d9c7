#include "heartbeat/udp_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include <boost/asio.hpp>

#include "base/check.h"
#include "base/quiet_thread.h"
#include "heartbeat/real_time.h"

namespace ftvmm::heartbeat {

namespace {

namespace asio = boost::asio;
using asio::ip::udp;
using ErrorCode = boost::system::error_code;

// An Instant that other threads read and write; this value is none.
using SharedInstant = std::atomic<BootClock::rep>;
constexpr BootClock::rep kNever = BootClock::duration::min().count();

Result<udp::endpoint> endpoint_of(const UdpEndpoint& endpoint) {
    ErrorCode error;
    const auto address = asio::ip::make_address(endpoint.address, error);
    if (error) {
        return fail(fmt::format("\"{}\" is no IP address", endpoint.address),
                    "give the address in numbers");
    }
    return udp::endpoint(address, endpoint.port);
}

Error failed(const UdpPath& path, const ErrorCode& error) {
    return Error::from_errno(
        error.value(),
        fmt::format("path {}: UDP from {} port {} to {} port {}", path.name, path.local.address,
                    path.local.port, path.peer.address, path.peer.port));
}

struct PathCounters {
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> not_sent{0};
    std::atomic<std::uint64_t> taken{0};
    std::array<std::atomic<std::uint64_t>, kRefusals> refused{};
};

// What others see of a path.
struct Shown {
    SharedInstant heard_at{kNever};
    std::atomic<bool> is_silent{false};
};

std::optional<Instant> instant_of(BootClock::rep shared) {
    if (shared == kNever) return std::nullopt;
    return Instant(BootClock::duration(shared));
}

// A datagram that is larger than a beat is seen to be.
using Datagram = std::array<std::byte, kBeatBytes + 1>;

}  // namespace

class UdpDriver::Work {
  public:
    explicit Work(UdpOptions options)
        : options_(std::move(options)),
          session_(options_.identity, options_.keys),
          timer_(io_),
          others_(options_.other_paths.size()),
          shown_(options_.paths.size() + options_.other_paths.size()) {
        for (SharedInstant& other : others_)
            other = kNever;
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    ~Work() {
        io_.stop();
        if (thread_.joinable()) thread_.join();
    }

    Result<void> prepare() {
        for (const UdpPath& path : options_.paths)
            FTVMM_TRY(prepare(path));
        return {};
    }
    void start() {
        thread_ = quiet_thread([this] { run(); });
    }

    // Any thread.
    SharedInstant& other(PathId path) {
        const std::size_t at = path.value() - paths_.size();
        FTVMM_CHECK(path.value() >= paths_.size() && at < others_.size(),
                    "a path without beats of its own is heard from outside");
        return others_[at];
    }
    [[nodiscard]] Instant now() const { return clock_.now(); }
    // Calls `change` on the thread inside and waits for it.
    template <class Change>
    void apply(Change change) {
        std::promise<void> promise;
        const std::future<void> is_done = promise.get_future();
        asio::dispatch(io_, [this, &change, done = std::move(promise)]() mutable {
            change(*this);
            done.set_value();
        });
        is_done.wait();
    }
    void post_refused(PathId path) {
        (void)other(path);
        asio::post(io_, [this, path] {
            hear_others();
            detector_->refused(path);
            turn();
        });
    }
    [[nodiscard]] BootClock::rep answered_from() const { return answered_from_; }
    [[nodiscard]] std::vector<PathStatistics> statistics() const;

    // The thread inside.
    void set_role(Role role) { options_.role = role; }
    [[nodiscard]] std::optional<Instant> promised_at() const { return session_.promised_at(); }

  private:
    struct Path {
        Path(PathId number, asio::io_context& io, udp::endpoint its_local, udp::endpoint its_peer)
            : id(number),
              socket(io),
              local(std::move(its_local)),
              peer(std::move(its_peer)),
              opens_at(Instant::min()) {}

        PathId id;
        udp::socket socket;
        udp::endpoint local;
        udp::endpoint peer;
        Instant opens_at;  // Not before, while it is not open.
        PathCounters counters;
        bool is_waiting = false;        // For something to read.
        bool is_readable = true;        // There may be more.
        bool said_unreachable = false;  // Once for each time that it begins.
    };

    Result<void> prepare(const UdpPath& path);
    [[nodiscard]] static ErrorCode open(Path& path);
    void run();
    void turn();
    void read(Path& path);
    void wait_for(Path& path);
    void hear_others();
    void note_heard(PathId path, Instant at);
    void look_at_paths(Instant now);
    void send(Path& path, Instant now);
    [[nodiscard]] ErrorCode send_beat(Path& path, Instant now);
    void say(const std::string& what) const {
        if (options_.log) options_.log(what);
    }

    UdpOptions options_;
    SystemClock clock_;
    BeatSession session_;
    std::optional<DetectorFsm> detector_;  // From the thread's first moment on,
    std::optional<PathWatch> path_watch_;  // as this.
    asio::io_context io_{1};
    asio::steady_timer timer_;
    std::vector<std::unique_ptr<Path>> paths_;
    std::vector<SharedInstant> others_;  // When they were heard, until the next turn.
    std::vector<Shown> shown_;
    Instant next_beat_;
    SharedInstant answered_from_{kNever};
    std::thread thread_;
};

Result<void> UdpDriver::Work::prepare(const UdpPath& path) {
    FTVMM_ASSIGN(udp::endpoint local, endpoint_of(path.local));
    FTVMM_ASSIGN(udp::endpoint peer, endpoint_of(path.peer));
    const PathId id(static_cast<std::uint32_t>(paths_.size()));
    paths_.push_back(std::make_unique<Path>(id, io_, std::move(local), std::move(peer)));
    // What the peer sends from now on is not lost. An error is one of the first beat too.
    (void)open(*paths_.back());
    return {};
}

ErrorCode UdpDriver::Work::open(Path& path) {
    ErrorCode error;
    path.socket.open(path.local.protocol(), error);
    if (!error) path.socket.bind(path.local, error);
    // The kernel drops what comes from elsewhere, and tells when the peer's port is nobody's.
    if (!error) path.socket.connect(path.peer, error);
    if (!error) path.socket.non_blocking(true, error);
    if (error) {
        ErrorCode ignored;
        path.socket.close(ignored);
    }
    return error;
}

void UdpDriver::Work::run() {
    if (options_.real_time) {
        for (const std::string& refused : become_real_time())
            say(refused);
    }
    next_beat_ = clock_.now();
    detector_.emplace(shown_.size(), options_.timeouts, next_beat_);
    path_watch_.emplace(shown_.size(), kSilentAfterDeaths * options_.timeouts.dead);
    asio::post(io_, [this] { turn(); });
    io_.run();
}

// All that came is looked at before the peer is judged.
void UdpDriver::Work::turn() {
    for (const auto& path : paths_)
        read(*path);
    hear_others();
    if (const auto from = session_.answered_from()) {
        answered_from_ = from->time_since_epoch().count();
    }
    const Instant now = clock_.now();
    for (const Verdict& verdict : detector_->tick(now))
        options_.on_verdict(verdict);
    if (now >= next_beat_) {
        for (const auto& path : paths_) {
            path->is_readable = true;
            send(*path, clock_.now());
        }
        look_at_paths(now);
        // Who was stopped does not make up for what it did not send.
        next_beat_ += options_.timeouts.beat;
        if (next_beat_ <= now) next_beat_ = now + options_.timeouts.beat;
    }
    for (const auto& path : paths_)
        wait_for(*path);
    // The timer is a wish to be woken: what time it is, and was, the other clock says.
    timer_.expires_after(std::min(next_beat_, detector_->deadline()) - now);
    timer_.async_wait([this](const ErrorCode& error) {
        if (!error) turn();
    });
}

void UdpDriver::Work::read(Path& path) {
    if (!path.socket.is_open()) return;
    Datagram datagram{};
    for (std::size_t count = 0; count < kMaxDatagramsPerTurn && path.is_readable; ++count) {
        ErrorCode error;
        const std::size_t size = path.socket.receive(asio::buffer(datagram), 0, error);
        if (error == asio::error::connection_refused) {
            detector_->refused(path.id);
        } else if (error == asio::error::would_block) {
            return;
        } else if (!error) {
            const auto beat = session_.take(std::span(datagram).first(size));
            if (beat) {
                ++path.counters.taken;
                note_heard(path.id, clock_.now());
            } else {
                ++path.counters.refused.at(static_cast<std::size_t>(beat.error()));
            }
        }
    }
    path.is_readable = false;
}

void UdpDriver::Work::wait_for(Path& path) {
    if (path.is_waiting || !path.is_readable || !path.socket.is_open()) return;
    path.is_waiting = true;
    path.socket.async_wait(udp::socket::wait_read, [this, &path](const ErrorCode& error) {
        path.is_waiting = false;
        if (!error) turn();
    });
}

void UdpDriver::Work::hear_others() {
    for (std::size_t i = 0; i < others_.size(); ++i) {
        const BootClock::rep heard = others_[i].exchange(kNever);
        if (heard == kNever) continue;
        note_heard(PathId(static_cast<std::uint32_t>(paths_.size() + i)),
                   Instant(BootClock::duration(heard)));
    }
}

void UdpDriver::Work::note_heard(PathId path, Instant at) {
    detector_->heard(path, at);
    path_watch_->heard(path);
    shown_.at(path.value()).heard_at = at.time_since_epoch().count();
}

void UdpDriver::Work::look_at_paths(Instant now) {
    for (const PathChange& change : path_watch_->look(detector_->silences(now))) {
        shown_.at(change.path.value()).is_silent = change.is_silent;
        if (options_.on_path) options_.on_path(change);
    }
}

void UdpDriver::Work::send(Path& path, Instant now) {
    ErrorCode error;
    if (!path.socket.is_open()) {
        if (now < path.opens_at) return;
        path.opens_at = now + kOpenEvery;
        error = open(path);
    }
    if (!error) error = send_beat(path, now);
    ++(error ? path.counters.not_sent : path.counters.sent);
    if (error && !path.said_unreachable && error != asio::error::connection_refused) {
        say(fmt::format("{}: beats do not leave this host",
                        failed(options_.paths.at(path.id.value()), error).line()));
    }
    path.said_unreachable = static_cast<bool>(error);
}

ErrorCode UdpDriver::Work::send_beat(Path& path, Instant now) {
    const BeatBytes beat = session_.next(options_.role, now);
    ErrorCode error;
    path.socket.send(asio::buffer(beat), 0, error);
    if (error == asio::error::connection_refused) {
        // That was about a beat before, and this one is yet to be sent.
        detector_->refused(path.id);
        path.socket.send(asio::buffer(beat), 0, error);
    }
    return error;
}

std::vector<PathStatistics> UdpDriver::Work::statistics() const {
    std::vector<PathStatistics> statistics(shown_.size());
    for (std::size_t i = 0; i < shown_.size(); ++i) {
        statistics[i].heard_at = instant_of(shown_[i].heard_at);
        statistics[i].is_silent = shown_[i].is_silent;
    }
    for (std::size_t i = 0; i < others_.size(); ++i)
        statistics[paths_.size() + i].name = options_.other_paths[i];
    for (const auto& path : paths_) {
        PathStatistics& of = statistics[path->id.value()];
        of.name = options_.paths.at(path->id.value()).name;
        of.sent = path->counters.sent;
        of.not_sent = path->counters.not_sent;
        of.taken = path->counters.taken;
        for (std::size_t i = 0; i < kRefusals; ++i)
            of.refused.at(i) = path->counters.refused.at(i);
    }
    return statistics;
}

Result<std::unique_ptr<UdpDriver::Work>> UdpDriver::make_work(UdpOptions options) {
    try {
        return std::make_unique<Work>(std::move(options));
    } catch (const boost::system::system_error& error) {
        return Failure(Error::from_errno(error.code().value(), "beats can not be waited for"));
    }
}

Result<std::unique_ptr<UdpDriver>> UdpDriver::start(UdpOptions options) {
    FTVMM_CHECK(options.on_verdict != nullptr, "somebody wants to know");
    FTVMM_TRY(options.timeouts.check());
    const std::size_t paths = options.paths.size() + options.other_paths.size();
    if (paths == 0 || paths > kMaxPaths) {
        return fail(fmt::format("there are {} paths to the peer", paths),
                    fmt::format("give one to {}, the log's among them", kMaxPaths));
    }
    FTVMM_ASSIGN(auto work, make_work(std::move(options)));
    FTVMM_TRY(work->prepare());
    work->start();
    return std::unique_ptr<UdpDriver>(new UdpDriver(std::move(work)));
}

UdpDriver::UdpDriver(std::unique_ptr<Work> work) : work_(std::move(work)) {}

UdpDriver::~UdpDriver() = default;

void UdpDriver::heard(PathId path) {
    work_->other(path) = work_->now().time_since_epoch().count();
}

void UdpDriver::refused(PathId path) {
    work_->post_refused(path);
}

void UdpDriver::set_role(Role role) {
    work_->apply([role](Work& work) { work.set_role(role); });
}

std::optional<Instant> UdpDriver::stop_answering() {
    std::optional<Instant> promised_at;
    work_->apply([&](Work& work) {
        work.set_role(Role::kGoingLive);
        promised_at = work.promised_at();
    });
    return promised_at;
}

std::optional<Instant> UdpDriver::answered_from() const {
    return instant_of(work_->answered_from());
}

std::vector<PathStatistics> UdpDriver::statistics() const {
    return work_->statistics();
}

}  // namespace ftvmm::heartbeat
