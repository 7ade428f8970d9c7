// Processes that contest a VM in a folder of the test's own. Leases are short, and what comes of
// them is waited for.
#include "lock/ownership_driver.h"

#include <fcntl.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "hanging_storage.h"
#include "temp_folder.h"

namespace ftvmm::lock {
namespace {

using ftvmm::testing::TempFolder;
using std::chrono::milliseconds;
using testing::HangingStorage;

constexpr milliseconds kLease{300};

// Nobody stops what waits.
const std::atomic<bool> goes_on{false};

OwnershipOptions options_of(const TempFolder& folder, const std::string& host,
                            milliseconds lease = kLease) {
    OwnershipOptions options;
    options.folder = folder.file("");
    options.host = host;
    options.boot_id = "boot";
    options.times = LeaseTimes::of(lease);
    return options;
}

std::unique_ptr<Ownership> open(OwnershipOptions options) {
    return Ownership::open(std::move(options)).value();
}

bool is_won(const Result<Outcome>& outcome) {
    REQUIRE(outcome);
    return std::holds_alternative<outcome::Won>(*outcome);
}

// As a Secondary whose Primary has won the generation before.
void bid(Ownership& ownership, const TempFolder& folder, std::uint64_t next) {
    const Claim before{
        .generation = Generation(next - 1), .nonce = {7}, .host = "p", .boot_id = "boot"};
    std::ofstream(folder.file(generation_file(before.generation))) << encode_claim(before);
    ownership.bid(Generation(next), before.nonce);
}

Result<Outcome> start(Ownership& ownership) {
    return ownership.cold_start(goes_on, {});
}

// Wakes who waits for something to change.
class Changes {
  public:
    explicit Changes(Ownership& of) : of_(of) {
        of_.on_change([this] {
            const std::lock_guard lock(mutex_);
            ++count_;
            changed_.notify_all();
        });
    }
    Changes(const Changes&) = delete;
    Changes& operator=(const Changes&) = delete;
    ~Changes() { of_.on_change(nullptr); }

    template <class Condition>
    void wait_until(Condition is_met) {
        std::unique_lock lock(mutex_);
        while (!is_met()) {
            // What changed before the call was set wakes nobody.
            (void)changed_.wait_for(lock, milliseconds(20));
        }
    }

  private:
    Ownership& of_;
    std::mutex mutex_;
    std::condition_variable changed_;
    int count_ = 0;
};

void wait_until_it_holds(Ownership& ownership) {
    Changes(ownership).wait_until([&] { return ownership.holds_until() > SystemClock().now(); });
}

TEST_CASE("A VM that never ran starts at once, and acts only once its lease is there") {
    const TempFolder folder;
    // A lease for which no test would wait.
    const auto ownership = open(options_of(folder, "a", std::chrono::minutes(10)));
    CHECK(*ownership->newest(goes_on) == Generation(0));
    CHECK(ownership->holds_until() == Instant::min());
    CHECK(is_won(start(*ownership)));
    CHECK(ownership->generation() == Generation(1));
    CHECK(ownership->has_lock());
    wait_until_it_holds(*ownership);
    CHECK(ownership->holds_until() < SystemClock().now() + std::chrono::minutes(9));
    CHECK(*ownership->newest(goes_on) == Generation(1));
}

TEST_CASE("Of two that contest a generation exactly one wins, each time") {
    for (int round = 0; round < 200; ++round) {
        // Each is a Secondary again, whatever became of it before.
        const TempFolder vm;
        const auto a = open(options_of(vm, "a"));
        const auto b = open(options_of(vm, "b"));
        bid(*a, vm, 8);
        bid(*b, vm, 8);
        std::optional<Result<Outcome>> of_a;
        std::thread other([&] { of_a = a->contest(goes_on); });
        const auto of_b = b->contest(goes_on);
        other.join();
        REQUIRE(is_won(*of_a) != is_won(of_b));
        Ownership& winner = is_won(of_b) ? *b : *a;
        Ownership& loser = is_won(of_b) ? *a : *b;
        REQUIRE(winner.generation() == Generation(8));
        REQUIRE(loser.generation() == Generation(0));
        REQUIRE(loser.holds_until() == Instant::min());
        REQUIRE(loser.superseded_by()->host == (is_won(of_b) ? "b" : "a"));
    }
}

TEST_CASE("Who wins from a Secondary holds a lease and takes the lock") {
    const TempFolder folder;
    const auto primary = open(options_of(folder, "a"));
    CHECK(is_won(start(*primary)));
    const auto secondary = open(options_of(folder, "b"));
    secondary->bid(Generation(2), primary->nonce());
    CHECK(is_won(secondary->contest(goes_on)));
    wait_until_it_holds(*secondary);
    CHECK(!secondary->has_lock());
    // The one before it finds out by its next renewal, also without a contest of its own.
    Changes(*primary).wait_until([&] { return primary->superseded_by().has_value(); });
    CHECK(primary->superseded_by()->host == "b");
    CHECK(primary->holds_until() == Instant::min());
    CHECK(primary->generation() == Generation(0));
    CHECK(!is_won(primary->contest(goes_on)));
    // It may be a Secondary again.
    primary->bid(Generation(3), secondary->nonce());
    CHECK(!primary->superseded_by());
    CHECK(is_won(primary->contest(goes_on)));
    Changes(*secondary).wait_until([&] { return secondary->superseded_by().has_value(); });
}

TEST_CASE("Who bids in another folder than its Primary's can never win, and says why") {
    const TempFolder folder;
    const TempFolder copy;
    const auto primary = open(options_of(folder, "a"));
    CHECK(is_won(start(*primary)));
    std::filesystem::copy(folder.file("gen-1"), copy.file("gen-1"));
    CHECK(is_won(primary->contest(goes_on)));
    const auto secondary = open(options_of(copy, "b"));
    CHECK(*secondary->newest(goes_on) == Generation(1));
    secondary->bid(Generation(3), primary->nonce());
    const auto outcome = secondary->contest(goes_on);
    REQUIRE(outcome);
    CHECK(std::holds_alternative<outcome::Elsewhere>(*outcome));
    const auto stands = secondary->bid_stands();
    REQUIRE_FALSE(stands);
    CHECK_THAT(stands.error().what(), Catch::Contains("gen-2 is missing"));
    CHECK(*secondary->newest(goes_on) == Generation(1));
    CHECK(primary->generation() == Generation(2));
}

TEST_CASE("An owner that publishes the generations of its pairs stays the owner") {
    const TempFolder folder;
    const auto ownership = open(options_of(folder, "a"));
    CHECK(is_won(start(*ownership)));
    for (std::uint64_t generation = 2; generation < 20; ++generation) {
        CHECK(is_won(ownership->contest(goes_on)));
        CHECK(ownership->generation() == Generation(generation));
    }
    const Instant held = ownership->holds_until();
    Changes(*ownership).wait_until([&] { return ownership->holds_until() > held; });
    CHECK(!ownership->superseded_by());
    CHECK(*ownership->newest(goes_on) == Generation(19));
}

TEST_CASE("A cold start beside an owner that lives waits, and says for what") {
    const TempFolder folder;
    const auto owner = open(options_of(folder, "a"));
    CHECK(is_won(start(*owner)));
    const auto other = open(options_of(folder, "b"));
    std::atomic<bool> stops{false};
    std::vector<std::string> told;
    const Instant end = SystemClock().now() + 3 * kLease;
    Result<Outcome> outcome = fail("none yet");
    std::thread starter([&] {
        outcome = other->cold_start(stops, [&](const std::string& what) { told.push_back(what); });
    });
    Changes(*owner).wait_until([&] { return SystemClock().now() > end; });
    stops = true;
    starter.join();
    CHECK(!outcome);
    CHECK(other->generation() == Generation(0));
    CHECK(told == std::vector<std::string>{"another host holds the lock"});
    CHECK(!owner->superseded_by());
}

// As where a server gave up the lock of a host that it can not reach.
TEST_CASE("A cold start that gets the lock of an owner that lives waits all the same") {
    const TempFolder folder;
    const auto owner = open(options_of(folder, "a"));
    CHECK(is_won(start(*owner)));
    wait_until_it_holds(*owner);
    std::filesystem::remove(folder.file("owner.lock"));
    const auto other = open(options_of(folder, "b"));
    // Whether this process was stopped for so long that the lease did end.
    std::atomic<bool> lapsed{false};
    std::atomic<bool> stops{false};
    std::vector<std::string> told;
    const Instant end = SystemClock().now() + 3 * kLease;
    Result<Outcome> outcome = fail("none yet");
    std::thread starter([&] {
        outcome = other->cold_start(stops, [&](const std::string& what) { told.push_back(what); });
    });
    Instant held = owner->holds_until();
    Changes(*owner).wait_until([&] {
        const Instant now = SystemClock().now();
        if (held <= now) lapsed = true;
        held = owner->holds_until();
        return now > end;
    });
    stops = true;
    starter.join();
    if (lapsed) return;
    CHECK(!outcome);
    CHECK(told == std::vector<std::string>{"an owner that may live"});
    CHECK(!owner->superseded_by());
}

TEST_CASE("The VM of an owner that died starts once its lease is over") {
    const TempFolder folder;
    Instant held;
    {
        const auto owner = open(options_of(folder, "a"));
        CHECK(is_won(start(*owner)));
        wait_until_it_holds(*owner);
        held = owner->holds_until();
    }
    const auto other = open(options_of(folder, "b"));
    CHECK(is_won(start(*other)));
    CHECK(SystemClock().now() >= held);
    CHECK(other->generation() == Generation(2));
}

TEST_CASE("The VM of an owner that ended starts at once") {
    const TempFolder folder;
    const milliseconds lease = std::chrono::minutes(10);
    {
        const auto owner = open(options_of(folder, "a", lease));
        CHECK(is_won(start(*owner)));
        wait_until_it_holds(*owner);
        CHECK(owner->end());
        CHECK(owner->holds_until() == Instant::min());
        CHECK(owner->generation() == Generation(0));
    }
    const auto other = open(options_of(folder, "b", lease));
    CHECK(is_won(start(*other)));
    CHECK(other->generation() == Generation(2));
}

TEST_CASE("A link that was done though it was not answered is found to be one's own") {
    const TempFolder folder;
    HangingStorage hanging;
    std::atomic<int> reads{0};
    auto options = options_of(folder, "a");
    options.deadline = milliseconds(1000);
    options.hook = [&, hook = hanging.hook()](const Request& request, const auto& really) {
        const auto* const read = std::get_if<request::Read>(&request);
        if (read != nullptr && read->name == "gen-3") ++reads;
        if (!std::holds_alternative<request::Link>(request)) return really(request);
        return hook(request, really);
    };
    const auto ownership = open(options);
    hanging.hang();
    bid(*ownership, folder, 3);
    Result<Outcome> outcome = fail("none yet");
    std::thread contester([&] { outcome = ownership->contest(goes_on); });
    hanging.wait_until_it_hangs();
    Changes(*ownership).wait_until([&] { return !ownership->trouble().empty(); });
    CHECK(ownership->trouble() == "the shared storage does not answer within 1000 ms");
    CHECK(ownership->generation() == Generation(0));
    CHECK(reads == 0);
    hanging.go_on();
    contester.join();
    CHECK(is_won(outcome));
    CHECK(reads == 1);
    CHECK(ownership->generation() == Generation(3));
    CHECK(*ownership->newest(goes_on) == Generation(3));
}

TEST_CASE("A contest that is stopped tells the next call what came of it") {
    const TempFolder folder;
    HangingStorage hanging;
    auto options = options_of(folder, "a");
    options.hook = hanging.hook();
    const auto ownership = open(options);
    bid(*ownership, folder, 3);
    hanging.hang();
    const std::atomic<bool> stops{true};
    CHECK(!ownership->contest(stops));
    hanging.go_on();
    CHECK(is_won(ownership->contest(goes_on)));
    CHECK(ownership->generation() == Generation(3));
}

TEST_CASE("Storage that hangs ends the lease, and its owner says why") {
    const TempFolder folder;
    HangingStorage hanging;
    std::mutex mutex;
    std::vector<std::string> log;
    auto options = options_of(folder, "a");
    options.deadline = milliseconds(1000);
    options.hook = hanging.hook();
    options.log = [&](const std::string& line) {
        const std::lock_guard lock(mutex);
        log.push_back(line);
    };
    const auto ownership = open(options);
    CHECK(is_won(start(*ownership)));
    wait_until_it_holds(*ownership);
    hanging.hang();
    Changes changes(*ownership);
    changes.wait_until([&] { return ownership->holds_until() <= SystemClock().now(); });
    CHECK(ownership->generation() == Generation(1));
    CHECK(!ownership->end());
    hanging.go_on();
    const std::lock_guard lock(mutex);
    CHECK(log.at(0) == "this host owns generation 1");
    CHECK(log.at(1) == "the shared storage does not answer within 1000 ms");
}

TEST_CASE("What can not be written about a host is refused") {
    const TempFolder folder;
    CHECK(!Ownership::open(options_of(folder, "")));
    CHECK(!Ownership::open(options_of(folder, "a\nb")));
    CHECK(!Ownership::open(options_of(folder, std::string(256, 'a'))));
    CHECK(!Ownership::open(options_of(folder, "a", milliseconds(0))));
}

}  // namespace
}  // namespace ftvmm::lock
