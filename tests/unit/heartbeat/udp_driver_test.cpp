// Beats over loopback sockets of the test's own. What is waited for is waited for by what comes of
// it; no outcome depends on how long anything takes.
#include "heartbeat/udp_driver.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "pair_of_sessions.h"

namespace ftvmm::heartbeat {
namespace {

using namespace testing;
using std::chrono::milliseconds;

// Nothing takes so long, unless it never comes.
constexpr std::chrono::seconds kNever{60};
constexpr std::uint16_t kPort = 7117;

// An address of this process alone, so that tests may run at once.
std::string address(int host) {
    const auto pid = static_cast<unsigned>(::getpid());
    return fmt::format("127.{}.{}.{}", 1 + pid % 250, pid / 250 % 250, host);
}

UdpPath path_between(int local, int peer) {
    return {fmt::format("net{}", local / 10), {address(local), kPort}, {address(peer), kPort}};
}

// What a driver says, for who waits for it.
class Heard {
  public:
    void add(const Verdict& verdict) {
        const std::lock_guard lock(mutex_);
        verdicts_.push_back(verdict);
        changed_.notify_all();
    }
    // Takes all up to the first of that kind. Stops of this process by a busy host may come
    // between.
    template <class Kind>
    bool wait_for() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kNever, [&] {
            while (!verdicts_.empty()) {
                const bool is_it = std::holds_alternative<Kind>(verdicts_.front());
                verdicts_.erase(verdicts_.begin());
                if (is_it) return true;
            }
            return false;
        });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Verdict> verdicts_;
};

// A peer that the test plays itself.
class Peer {
  public:
    Peer(int local, int peer) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        const timeval patience{kNever.count(), 0};
        REQUIRE(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ==
                0);
        const auto at = endpoint(local);
        REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
        const auto to = endpoint(peer);
        REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    }

    void send(std::span<const std::byte> bytes) {
        // The first may find nobody there yet.
        (void)::send(socket_.get(), bytes.data(), bytes.size(), 0);
    }
    // The driver's next beat.
    Beat receive() {
        while (true) {
            BeatBytes bytes{};
            const auto size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
            if (size < 0 && errno == ECONNREFUSED) continue;
            REQUIRE(size == static_cast<ssize_t>(bytes.size()));
            const auto beat = session.take(bytes);
            REQUIRE(beat);
            return *beat;
        }
    }
    // Sends a beat and waits until the driver answers it: then it has read all that came before.
    Beat exchange(Role role = Role::kSecondary) {
        const auto bytes = session.next(role, clock.now());
        const auto sent = decode_beat(bytes, second_keys().to_peer);
        send(bytes);
        while (true) {
            const Beat beat = receive();
            if (beat.echo >= sent->number) return beat;
        }
    }

    // The same where beats may be lost.
    void insist() {
        const auto first = session.next(Role::kSecondary, clock.now());
        const auto sent = decode_beat(first, second_keys().to_peer);
        for (send(first); receive().echo < sent->number;)
            send(session.next(Role::kSecondary, clock.now()));
    }

    BeatSession session{some_identity(), second_keys()};
    SystemClock clock;

  private:
    static sockaddr_in endpoint(int host) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(kPort);
        REQUIRE(::inet_pton(AF_INET, address(host).c_str(), &at.sin_addr) == 1);
        return at;
    }

    Fd socket_;
};

UdpOptions options_of(std::vector<UdpPath> paths, Heard& heard) {
    UdpOptions options{.paths = std::move(paths),
                       .other_paths = {},
                       .identity = some_identity(),
                       .keys = first_keys(),
                       .role = Role::kPrimary,
                       .timeouts = {.beat = milliseconds(5),
                                    .suspect = milliseconds(20),
                                    .dead = milliseconds(60),
                                    .own_gap = milliseconds(50)},
                       .real_time = false,
                       .on_verdict = [&heard](const Verdict& verdict) { heard.add(verdict); },
                       .on_path = nullptr,
                       .log = nullptr};
    return options;
}

std::uint64_t refused(const UdpDriver& driver, Refusal refusal) {
    return driver.statistics().front().refused.at(static_cast<std::size_t>(refusal));
}

}  // namespace

TEST_CASE("A peer that answers on one path of two is alive, and proves the lease") {
    Heard heard;
    const auto driver =
        UdpDriver::start(options_of({path_between(1, 2), path_between(11, 12)}, heard));
    REQUIRE(driver);
    CHECK(!(*driver)->answered_from());
    Peer peer(2, 1);
    // The driver's first beats may have met nobody.
    const Beat beat = peer.receive();
    CHECK(beat.role == Role::kPrimary);
    CHECK(beat.echo == BeatNumber());
    (void)peer.exchange();
    // The answer to `beat` or to a later one was read before the exchange ended.
    REQUIRE((*driver)->answered_from());
    CHECK(*(*driver)->answered_from() >= beat.sent_at);
    CHECK(*(*driver)->answered_from() <= peer.clock.now());
    const auto statistics = (*driver)->statistics();
    REQUIRE(statistics.size() == 2);
    CHECK(statistics[0].name == "net0");
    CHECK(statistics[0].taken == 1);
    CHECK(statistics[0].sent > 0);
    CHECK(statistics[1].taken == 0);
}

TEST_CASE("A peer that falls silent is suspect, then dead, and alive when it is heard again") {
    Heard heard;
    const auto driver = UdpDriver::start(options_of({path_between(1, 2)}, heard));
    REQUIRE(driver);
    Peer peer(2, 1);
    (void)peer.exchange();
    CHECK(heard.wait_for<verdict::Suspect>());
    CHECK(heard.wait_for<verdict::Dead>());
    peer.send(peer.session.next(Role::kSecondary, peer.clock.now()));
    CHECK(heard.wait_for<verdict::Alive>());
    CHECK(heard.wait_for<verdict::Dead>());
}

TEST_CASE("The log's traffic is life, and where all else is silent its end is the process's") {
    Heard heard;
    auto options = options_of({path_between(1, 2)}, heard);
    options.other_paths = {"link"};
    options.timeouts.dead = kNever / 2;
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    const Peer peer(2, 1);
    CHECK(heard.wait_for<verdict::Suspect>());
    (*driver)->heard(PathId(1));
    CHECK(heard.wait_for<verdict::Alive>());
    (*driver)->refused(PathId(1));
    CHECK(heard.wait_for<verdict::ProcessGone>());
}

TEST_CASE("A peer whose port is nobody's any more is gone") {
    Heard heard;
    auto options = options_of({path_between(1, 2)}, heard);
    options.timeouts.dead = kNever / 2;
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    {
        Peer peer(2, 1);
        (void)peer.exchange();
    }
    CHECK(heard.wait_for<verdict::ProcessGone>());
}

TEST_CASE("What is no beat of the peer's is counted by its reason and counts for nothing") {
    Heard heard;
    const auto driver = UdpDriver::start(options_of({path_between(1, 2)}, heard));
    REQUIRE(driver);
    Peer peer(2, 1);
    const auto beat = peer.session.next(Role::kSecondary, peer.clock.now());
    (void)peer.receive();  // It is there.
    peer.send(beat);
    peer.send(beat);
    peer.send(std::span(beat).first(50));
    peer.send(std::vector<std::byte>(2000));
    auto forged = beat;
    forged.back() ^= std::byte{1};
    peer.send(forged);
    peer.send(std::array<std::byte, kBeatBytes>{});
    auto other_identity = some_identity();
    other_identity.generation = Generation(8);
    peer.send(BeatSession(other_identity, second_keys()).next(Role::kPrimary, Instant()));
    (void)peer.exchange();
    CHECK((*driver)->statistics().front().taken == 2);
    CHECK(refused(**driver, Refusal::kRepeated) == 1);
    CHECK(refused(**driver, Refusal::kSize) == 2);
    CHECK(refused(**driver, Refusal::kForged) == 1);
    CHECK(refused(**driver, Refusal::kNoBeat) == 1);
    CHECK(refused(**driver, Refusal::kGeneration) == 1);
}

TEST_CASE("A flood neither hides the peer nor keeps beats from being sent") {
    Heard heard;
    const auto driver =
        UdpDriver::start(options_of({path_between(1, 2), path_between(11, 12)}, heard));
    REQUIRE(driver);
    Peer flooder(2, 1);
    Peer peer(12, 11);
    (void)peer.receive();
    for (std::size_t i = 0; i < 20 * UdpDriver::kMaxDatagramsPerTurn; ++i)
        flooder.send(std::array<std::byte, kBeatBytes>{});
    (void)peer.exchange();
    CHECK((*driver)->statistics().back().taken == 1);
    // The flooded path is read on.
    flooder.insist();
    CHECK(refused(**driver, Refusal::kNoBeat) > 0);
}

TEST_CASE("Once a side has stopped to answer, no beat of it answers") {
    Heard heard;
    auto options = options_of({path_between(1, 2)}, heard);
    options.role = Role::kSecondary;
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    Peer peer(2, 1);
    const Beat answer = peer.exchange();
    const auto promised_at = (*driver)->stop_answering();
    REQUIRE(promised_at);
    CHECK(*promised_at >= answer.sent_at);
    // Whatever it made before was made no later than it says.
    Beat last = peer.receive();
    for (; last.echo != BeatNumber(); last = peer.receive())
        REQUIRE(last.sent_at <= *promised_at);
    CHECK(last.role == Role::kGoingLive);
    (*driver)->set_role(Role::kSecondary);
    CHECK(peer.exchange().role == Role::kSecondary);
}

TEST_CASE("The one who is told may change what the driver says") {
    Heard heard;
    UdpDriver* self = nullptr;
    std::mutex mutex;  // Held until the driver is known.
    std::unique_lock lock(mutex);
    auto options = options_of({path_between(1, 2)}, heard);
    options.on_verdict = [&](const Verdict& verdict) {
        const std::lock_guard known(mutex);
        if (std::holds_alternative<verdict::Dead>(verdict)) (void)self->stop_answering();
        heard.add(verdict);
    };
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    self = driver->get();
    lock.unlock();
    Peer peer(2, 1);
    CHECK(heard.wait_for<verdict::Dead>());
    while (peer.receive().role != Role::kGoingLive) {
    }
}

TEST_CASE("What a host does not allow to a thread in real time is said once, and beats go on") {
    Heard heard;
    std::mutex mutex;
    std::vector<std::string> said;
    auto options = options_of({path_between(1, 2)}, heard);
    options.real_time = true;
    options.log = [&](const std::string& what) {
        const std::lock_guard lock(mutex);
        said.push_back(what);
    };
    {
        const auto driver = UdpDriver::start(std::move(options));
        REQUIRE(driver);
        Peer peer(2, 1);
        (void)peer.exchange();
    }
    CHECK(said.size() <= 2);
    for (const std::string& what : said)
        CHECK_THAT(what, Catch::Contains("allow it with"));
}

TEST_CASE("A path whose address is not this host's is named once, and the others go on") {
    Heard heard;
    std::mutex mutex;
    std::vector<std::string> said;
    // Of RFC 5737: no host's own.
    auto options =
        options_of({{"net0", {"192.0.2.1", kPort}, {"127.0.0.1", 1}}, path_between(11, 12)}, heard);
    options.log = [&](const std::string& what) {
        const std::lock_guard lock(mutex);
        said.push_back(what);
    };
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    Peer peer(12, 11);
    (void)peer.exchange();
    (void)peer.exchange();
    const auto statistics = (*driver)->statistics();
    CHECK(statistics[0].sent == 0);
    CHECK(!statistics[0].heard_at);
    CHECK(statistics[1].taken == 2);
    CHECK(statistics[1].heard_at);
    const std::lock_guard lock(mutex);
    REQUIRE(said.size() == 1);
    CHECK_THAT(said[0],
               Catch::Contains("path net0: UDP from 192.0.2.1 port 7117 to 127.0.0.1 port 1"));
}

TEST_CASE("A path that falls silent beside one that is not is told, and when it is heard again") {
    Heard heard;
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<PathChange> changes;
    auto options = options_of({path_between(1, 2)}, heard);
    options.other_paths = {"link"};
    options.on_path = [&](const PathChange& change) {
        const std::lock_guard lock(mutex);
        changes.push_back(change);
        changed.notify_all();
    };
    const auto driver = UdpDriver::start(std::move(options));
    REQUIRE(driver);
    const auto is_told = [&](bool is_silent) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, kNever, [&] {
            return std::ranges::any_of(changes, [&](const PathChange& change) {
                return change.path == PathId(0) && change.is_silent == is_silent;
            });
        });
    };
    CHECK(is_told(true));
    CHECK((*driver)->statistics()[0].is_silent);
    Peer peer(2, 1);
    (void)peer.exchange();
    CHECK(is_told(false));
    (*driver)->heard(PathId(1));
    (void)peer.exchange();
    CHECK((*driver)->statistics()[1].name == "link");
    CHECK((*driver)->statistics()[1].heard_at);
}

TEST_CASE("An address that is none, and paths that are too many or none, are refused") {
    Heard heard;
    const auto what = [&](std::vector<UdpPath> paths) {
        const auto driver = UdpDriver::start(options_of(std::move(paths), heard));
        REQUIRE(!driver);
        return driver.error().line();
    };
    CHECK_THAT(what({{"net0", {"nowhere", 1}, {"127.0.0.1", 1}}}), Catch::Contains("nowhere"));
    CHECK_THAT(what({}), Catch::Contains("0 paths"));
    CHECK_THAT(what(std::vector(9, path_between(1, 2))), Catch::Contains("9 paths"));
    auto options = options_of({path_between(1, 2)}, heard);
    options.timeouts.suspect = milliseconds(1);
    const auto impatient = UdpDriver::start(std::move(options));
    CHECK(!impatient);
}

}  // namespace ftvmm::heartbeat
