// Two detectors in a world of their own: clocks that drift, hosts that are paused, networks that
// lose, delay, repeat and forge. From one seed it happens the same each time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "heartbeat/beat_session.h"
#include "heartbeat/detector_fsm.h"

namespace ftvmm::heartbeat::testing {

// What a side does wrong, so that it is seen whether the world finds it.
enum class Mutant : std::uint8_t {
    kNone,
    kAnyPath,           // One silent path is enough for a verdict.
    kUnawareOfGap,      // It does not notice that it was stopped.
    kBlamesForGap,      // It does, and counts the peer's silence meanwhile all the same.
    kNoWindow,          // A beat counts however often it comes.
    kLeaseFromReceipt,  // A stale answer is taken as if it were of now.
    kAnswersAsItGoes,   // It goes on answering while it goes live.
};

struct WorldCounts {
    std::map<std::size_t, std::uint64_t> verdicts;  // By their index.
    std::map<Refusal, std::uint64_t> refusals;
    std::uint64_t taken = 0;
    std::uint64_t overtaken = 0;  // Taken behind a newer one.
    std::uint64_t leases = 0;     // Turns of the Primary with a lease that holds.
};

// Side 0 is the Primary, side 1 the Secondary, which goes live when it finds the Primary dead.
class BeatWorld {
  public:
    explicit BeatWorld(std::uint64_t seed, Mutant mutant = Mutant::kNone);

    // Runs to the end. The first thing that must not be; nothing if all was well.
    [[nodiscard]] std::optional<std::string> run();
    [[nodiscard]] const WorldCounts& counts() const { return counts_; }

  private:
    static constexpr std::size_t kPaths = 2;
    using Duration = BootClock::duration;
    using Wire = std::vector<std::byte>;

    struct Side {
        // Of its clock, which counts while it is paused.
        Duration offset{};
        double rate = 1;
        std::vector<DetectorFsm> detectors;  // One, but for a mutant.
        std::optional<BeatSession> session;
        std::array<std::vector<Wire>, kPaths> sockets;
        std::vector<BeatBytes> sent;  // By number less 1, like the next.
        std::vector<Instant> sent_at;
        Duration next_beat{};  // True times, like the next ones.
        Duration wakes_at{};
        Duration paused_until{};
        std::optional<Duration> crashed_at;
        std::size_t most_severe = 0;  // The index of the verdict that stands.
        Role role = Role::kPrimary;
        // What must hold is judged by these alone; by its own clock.
        Instant runs_since;
        Instant newest_arrival;  // Of a beat that is new and genuine and was sent of late.
        Instant newest_read;     // When it could take one that is new and genuine.
        Instant judged_at;       // Its last verdict about the peer.
        bool has_news = false;
        Instant ticked_at;
        Instant paused_at;  // The end of the last pause of any length.
        std::set<std::uint64_t> arrived;
        std::set<std::uint64_t> counted;
        bool is_to_say_stopped = false;
        std::optional<Instant> lease_from;
        std::optional<Duration> live_since;
    };
    struct Flight {
        Duration at;
        std::size_t to;
        std::size_t path;
        Wire wire;
        bool is_refusal = false;
        std::uint64_t order;
        bool operator>(const Flight& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct Faults {
        std::uint64_t loss = 0;    // Of 1000.
        std::uint64_t repeat = 0;  // Of 1000.
        Duration jitter{};
        bool pauses = false;
        bool cuts = false;
        bool attacks = false;
    };

    [[nodiscard]] Instant clock_of(const Side& side, Duration now) const;
    [[nodiscard]] Duration true_time(const Side& side, Instant instant) const;
    [[nodiscard]] Duration up_to(Duration bound);
    [[nodiscard]] bool one_of_1000(std::uint64_t chances) { return random_.below(1000) < chances; }

    void make_trouble();
    void pause(Side& side);
    void attack();
    void put(std::size_t to, std::size_t path, Wire wire, Duration delay);
    void send(std::size_t from, std::size_t path, const BeatBytes& bytes);
    void arrive(const Flight& flight);
    void turn(std::size_t index);
    void read(Side& side, Side& peer, Instant now);
    void count(Side& side, Side& peer, const Beat& beat);
    void tick(Side& side, Instant now);
    void judge(std::size_t index, const Verdict& verdict, Instant now);
    void judge_lease();
    void judge_end();
    void broken(const std::string& what);

    SeededEntropy random_;
    Mutant mutant_;
    Timeouts timeouts_;
    Faults faults_;
    Duration now_{};
    std::array<Side, 2> sides_;
    std::array<std::array<Duration, kPaths>, 2> cut_until_{};  // By receiver and path.
    std::vector<Flight> flights_;                              // A heap, the next one first.
    std::uint64_t flown_ = 0;
    std::vector<std::pair<std::size_t, Wire>> overheard_;  // By receiver.
    std::optional<std::string> broken_;
    WorldCounts counts_;
};

}  // namespace ftvmm::heartbeat::testing
