// Beats over UDP, on a thread of their own that does nothing else: docs/heartbeat.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "heartbeat/beat_session.h"
#include "heartbeat/detector_fsm.h"
#include "heartbeat/path_watch.h"
#include "heartbeat/verdict.h"

namespace ftvmm::heartbeat {

struct UdpEndpoint {
    std::string address;  // Of IPv4 or IPv6, in numbers: no name has to be looked up.
    std::uint16_t port = 0;
};

// One network between the two hosts.
struct UdpPath {
    std::string name;  // For people.
    UdpEndpoint local;
    UdpEndpoint peer;  // Nothing from elsewhere is looked at.
};

struct UdpOptions {
    std::vector<UdpPath> paths;  // PathId 0 and on.
    // The names of more paths behind these, which are known by heard() and refused() alone: the
    // log's connection.
    std::vector<std::string> other_paths;
    PairIdentity identity;
    BeatKeys keys;
    Role role = Role::kPrimary;
    Timeouts timeouts;
    bool real_time = true;
    // All are called on the thread inside and may not wait for anything; the first has to be there.
    std::function<void(const Verdict&)> on_verdict;
    std::function<void(const PathChange&)> on_path;
    std::function<void(const std::string&)> log;
};

struct PathStatistics {
    std::string name;
    std::optional<Instant> heard_at;  // When something came last, if anything ever did.
    bool is_silent = false;           // As of a PathWatch.
    // Of a UDP path.
    std::uint64_t sent = 0;
    std::uint64_t not_sent = 0;
    std::uint64_t taken = 0;
    std::array<std::uint64_t, kRefusals> refused{};  // By Refusal.
};

// Sends beats, takes the peer's, and says what it makes of the peer. Any thread may call what is
// public; what waits for the thread inside may also be called on it.
class UdpDriver {
  public:
    // What is read of one path in one turn, about 1 ms of work. With more than that a path waits
    // for the next beat: who floods it keeps nobody else from the processor.
    static constexpr std::size_t kMaxDatagramsPerTurn = 256;
    // How often a path is tried that can not be opened, as its address is not this host's now.
    static constexpr std::chrono::seconds kOpenEvery{1};
    // For people a path is silent after so many times the timeout for death: a peer that dies has
    // been said to be dead before.
    static constexpr int kSilentAfterDeaths = 2;

    // An error where an address is none, or the timeouts or the number of paths can not be.
    static Result<std::unique_ptr<UdpDriver>> start(UdpOptions options);
    UdpDriver(const UdpDriver&) = delete;
    UdpDriver& operator=(const UdpDriver&) = delete;
    // Waits for the thread: no call of on_verdict is under way or comes afterwards.
    ~UdpDriver();

    // As of a DetectorFsm, of the other paths. Cheap: for every piece of the log.
    void heard(PathId path);
    void refused(PathId path);

    // Waits until no beat is made any more that says or promises otherwise.
    void set_role(Role role);
    // As set_role(kGoingLive), and when the last promise was made.
    [[nodiscard]] std::optional<Instant> stop_answering();
    // As of a BeatSession: the start of one's release lease, as far as beats prove it.
    [[nodiscard]] std::optional<Instant> answered_from() const;

    // Of each path, by its PathId.
    [[nodiscard]] std::vector<PathStatistics> statistics() const;

  private:
    class Work;

    explicit UdpDriver(std::unique_ptr<Work> work);
    static Result<std::unique_ptr<Work>> make_work(UdpOptions options);

    std::unique_ptr<Work> work_;
};

}  // namespace ftvmm::heartbeat
