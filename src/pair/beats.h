// Whether the other host of a pair lives: what its beats and the link between the two tell.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_network.h"
#include "base/result.h"
#include "base/vm_identity.h"
#include "ftlink/greeting_driver.h"
#include "heartbeat/udp_driver.h"
#include "node/log.h"
#include "pair/io_loop.h"

namespace ftvmm::pair {

// A link on which nothing comes for so many times the timeout for death is of no use, although the
// other host beats.
inline constexpr int kStuckAfterDeaths = 5;

struct BeatOptions {
    VmUuid vm{};
    std::vector<IpNetwork> networks{};  // On which it beats, beside the link's own.
    // A peer of which nothing comes for so long, on no path, is dead; the same on both hosts. Zero:
    // nobody is ever dead.
    BootClock::duration dead_after{};
    bool real_time = true;
    node::Log log{};
};

// One way to the other host, for people.
struct PathStatus {
    enum class State : std::uint8_t { kNew, kHeard, kSilent };

    std::string name;  // "link", "192.0.2.11 to 192.0.2.12".
    State state = State::kNew;
    std::optional<BootClock::duration> heard_ago{};  // Nothing where nothing ever came.
    // Beats; none of the link.
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
    std::uint64_t refused = 0;
};
// "heard".
[[nodiscard]] const char* name_of(PathStatus::State state);

// What beats are sent with between two hosts that have agreed to be a pair, of which this one said
// `mine`. The keys are the connection's own. An error: that has ended. On the loop's thread.
[[nodiscard]] Result<heartbeat::UdpOptions> udp_options_of(const ftlink::Greeted& greeted,
                                                           const ftlink::Hello& mine,
                                                           const BeatOptions& options);

// Of one link, for as long as that is used. It only ever says that it is time to ask who goes on:
// no gate opens on a beat, and no promise ends by one. Any thread.
class Beats {
  public:
    // `udp` as of udp_options_of(). What there is to say is said on the loop's thread; `loop`
    // outlives this.
    static Result<std::unique_ptr<Beats>> start(IoLoop& loop, heartbeat::UdpOptions udp,
                                                BeatOptions options);
    Beats(const Beats&) = delete;
    Beats& operator=(const Beats&) = delete;
    ~Beats() = default;

    // Something came on the link; or its kernel says that nobody is at its other end.
    void link_heard() { driver_->heard(link_); }
    void link_refused() { driver_->refused(link_); }
    // From here on its beats say that this host asks for the VM.
    void goes_live() { driver_->set_role(heartbeat::Role::kGoingLive); }

    // Why the other host is to be taken for lost, if it is.
    [[nodiscard]] std::optional<Error> lost() const;
    // It is neither dead nor gone, whether or not that is why a link ends.
    [[nodiscard]] bool is_peer_heard() const { return life_ == Life::kHeard; }
    // The link first.
    [[nodiscard]] std::vector<PathStatus> paths() const;

  private:
    enum class Life : std::uint8_t { kHeard, kGone, kDead };

    Beats(IoLoop& loop, const heartbeat::UdpOptions& udp, BeatOptions options);
    void judge(const heartbeat::Verdict& verdict);
    void tell(const heartbeat::PathChange& change);
    void say(std::string line);

    IoLoop& loop_;
    BeatOptions options_;
    std::vector<std::string> names_;  // By PathId.
    heartbeat::PathId link_;
    SystemClock clock_;
    node::RateLimit stops_;  // The thread's that beats.
    std::atomic<Life> life_{Life::kHeard};
    std::unique_ptr<heartbeat::UdpDriver> driver_;  // Gone before the others are.
};

// Both of the above for two hosts that have just agreed.
[[nodiscard]] Result<std::unique_ptr<Beats>> start_beats(IoLoop& loop,
                                                         const ftlink::Greeted& greeted,
                                                         const ftlink::Hello& mine,
                                                         const BeatOptions& options);

}  // namespace ftvmm::pair
