// Hosts that start, pair, lose each other and crash over storage that is slow, fails, loses replies
// and does late what it said it could not. From one seed it happens the same each time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "lock/cold_start_fsm.h"
#include "lock/election_fsm.h"
#include "lock/lease_fsm.h"

namespace ftvmm::lock::testing {

// What a side does wrong, so that it is seen whether the world finds it.
enum class Mutant : std::uint8_t {
    kNone,
    kTakenIsWon,        // EEXIST is taken for success.
    kReusesGeneration,  // A new pair is elected with the claim of the one before.
    kLeaseFromReply,    // A renewal counts from its end.
    kDoesNotLook,       // A renewal counts without a look at the next generation.
    kDoesNotWait,       // A cold start that does not see the record unchanged.
    kActsAfterEnd,      // An owner whose record says that it ended goes on for a while.
};

struct LockCounts {
    std::uint64_t cold_starts = 0;
    std::uint64_t elections_won = 0;
    std::uint64_t elections_lost = 0;
    std::uint64_t published = 0;
    std::uint64_t own_claims_found = 0;  // Won by reading: the link's reply was lost.
    std::uint64_t superseded = 0;
    std::uint64_t ended = 0;
    std::uint64_t started_after_end = 0;  // Without a lease's wait.
    std::uint64_t late_effects = 0;
    std::uint64_t crashes = 0;
};

class LockWorld {
  public:
    explicit LockWorld(std::uint64_t seed, Mutant mutant = Mutant::kNone);

    // Runs to the end. The first thing that must not be; nothing if all was well.
    [[nodiscard]] std::optional<std::string> run();
    [[nodiscard]] const LockCounts& counts() const { return counts_; }

  private:
    static constexpr std::size_t kHosts = 3;
    using Duration = BootClock::duration;

    // Which FSM of a run asked.
    enum class Asker : std::uint8_t { kColdStart, kElection, kLease };
    enum class Role : std::uint8_t {
        kStarting,
        kSolo,
        kPrimary,
        kSecondary,
        kContesting,
        kEnding,
        kOver
    };

    // One process, from its start to its end.
    struct Run {
        std::uint64_t id = 0;
        std::size_t host = 0;
        Role role = Role::kStarting;
        bool was_primary = false;  // Before it contested.
        Generation generation;     // Of itself or its pair.
        std::optional<ColdStartFsm> cold_start;
        std::optional<ElectionFsm> election;
        std::optional<LeaseFsm> lease;
        Duration contests_at = Duration::max();  // A Secondary, some time after its Primary.
        std::uint64_t secondary = 0;             // A Primary's.
        Duration stretch{};                      // Of a mutant's lease.
        Instant acts_until = Instant::min();     // Of a mutant that has ended.
    };
    struct Event {
        Duration at;
        std::uint64_t order;
        std::uint64_t run;
        Asker asker;
        bool is_effect;
        Duration answered_after;
        Request request;
        std::optional<Reply> reply;
        bool operator>(const Event& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct Clock {
        Duration offset{};
        double rate = 1;
        Duration paused_until{};
    };

    [[nodiscard]] Instant clock_of(const Run& run) const;
    [[nodiscard]] Duration true_time(const Run& run, Instant instant) const;
    [[nodiscard]] Duration up_to(Duration bound);
    [[nodiscard]] bool one_of_1000(std::uint64_t chances) { return random_.below(1000) < chances; }
    [[nodiscard]] Run* find(std::uint64_t id);
    [[nodiscard]] Run* run_on(std::size_t host);
    [[nodiscard]] bool is_troubled() const;

    void make_trouble();
    void start(std::size_t host);
    void pair(Run& primary);
    void split(Run& primary);
    void end(Run& run);
    void end_cleanly(Run& run);
    [[nodiscard]] Claim new_claim(const Run& run, Generation generation);

    void poll(Run& run);
    void ask(Run& run, Asker asker, const Request& request);
    void answer(Run& run, Asker asker, const Request& request, Reply reply);
    void settle(Run& run);
    void won(Run& run, Generation generation, bool is_cold);
    void go_solo(Run& run, Generation generation);
    [[nodiscard]] Reply do_request(const Run& run, const Request& request);
    void happen(Event event);
    void judge();
    void broken(const std::string& what);

    SeededEntropy random_;
    Mutant mutant_;
    LeaseTimes times_;
    std::uint64_t trouble_;  // Of 1000 requests.
    Duration now_{};
    std::array<Clock, kHosts> clocks_;
    std::array<Duration, kHosts> starts_at_{};
    std::array<Duration, kHosts> unreachable_until_{};  // The storage, from a host.
    std::vector<std::unique_ptr<Run>> runs_;
    std::uint64_t last_run_ = 0;
    std::vector<Event> events_;  // A heap, the next one first.
    std::uint64_t order_ = 0;

    std::map<std::string, std::string> files_;
    std::uint64_t locked_by_ = 0;
    Duration lock_free_at_{};  // Some time after its holder's end.

    std::map<Generation, std::uint64_t> winners_;
    std::map<Generation, std::set<std::uint64_t>> members_;  // Who has the state of a generation.
    std::optional<std::string> broken_;
    LockCounts counts_;
};

}  // namespace ftvmm::lock::testing
