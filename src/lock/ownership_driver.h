// What one process is to its VM, on a thread of its own over shared storage. docs/generations.md
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "lock/election_fsm.h"
#include "lock/generation.h"
#include "lock/lease_fsm.h"
#include "lock/storage_driver.h"

namespace ftvmm::lock {

struct OwnershipOptions {
    std::string folder;  // Of this VM alone, on storage that all its hosts see.
    VmUuid vm{};
    std::string host;     // For people, like the next: at most Claim::kMaxText characters.
    std::string boot_id;  // Of this host's kernel.
    LeaseTimes times;     // The same on all hosts.
    std::chrono::milliseconds deadline{2000};  // As of a StorageDriver.
    // What people should know, a line each time that it changes. On the thread inside.
    std::function<void(const std::string&)> log{};
    decltype(StorageOptions::hook) hook{};  // For tests.
};

// Starts a VM that nobody runs, bids for the generation behind a pair's, and holds what it won.
// Nobody may act, whatever was won, before holds_until() is later than now on CLOCK_BOOTTIME; who
// acts asks again each time. Any thread may call what is public, but for one at a time the calls
// that wait: these block for as long as it takes, look at `stops` a few times a second, and return
// an error once it is true. None of these on the thread inside.
class Ownership {
  public:
    // An error where the folder is none, can not serve or does not answer, or a value is none that
    // can be written.
    static Result<std::unique_ptr<Ownership>> open(OwnershipOptions options);
    Ownership(const Ownership&) = delete;
    Ownership& operator=(const Ownership&) = delete;
    // The lock goes with it; the lease goes on for all others, unless it was ended. As of a
    // StorageDriver where the storage hangs.
    ~Ownership();

    // The newest generation that the storage knows; 0 is none.
    Result<Generation> newest(const std::atomic<bool>& stops);
    // Owning nothing. `tell` hears, on this thread, what it waits for, each time that it changes;
    // empty: for nothing any more. Won as of contest(), and the lock is had. Lost: the lock may be
    // had all the same until this object is gone, which should be soon. Stopped: given up, though
    // a generation may be taken by it.
    Result<Outcome> cold_start(const std::atomic<bool>& stops,
                               const std::function<void(const std::string&)>& tell);

    // Owning nothing, as a Secondary that is told of its pair's generation: writes a fresh claim
    // for `next`, in the background, once it has found that `behind` has won the generation before
    // on this storage. Another one before it is given up, also where it was contested and nobody
    // knows what came of that.
    void bid(Generation next, const Nonce& behind);
    // True once the claim is kept: who contests may win. An error: it never will be, as this is
    // another storage; a contest comes to nothing.
    [[nodiscard]] Result<bool> bid_stands() const;
    // Links the claim; there is a bid. Won: generation() is the claim's, its lease is run from
    // here on, a fresh claim for the next one is bid, and the lock is taken as soon as it is free.
    // Lost: nothing is owned any more and the bid is over; a new one may follow. Stopped: it goes
    // on, and the next call tells what came of it.
    Result<Outcome> contest(const std::atomic<bool>& stops);

    // What is owned; 0 is none.
    [[nodiscard]] Generation generation() const;
    // Of the claim that won it.
    [[nodiscard]] Nonce nonce() const;
    // Until then, and not at that moment, outputs may leave; Instant::min(): none may. Cheap.
    [[nodiscard]] Instant holds_until() const;
    // Who owns what this process owned or contested, until its next bid.
    [[nodiscard]] std::optional<Claim> superseded_by() const;
    // Why the storage does not do what is wanted of it, or empty.
    [[nodiscard]] std::string trouble() const;
    [[nodiscard]] bool has_lock() const;
    // Called on the thread inside each time that holds_until() or superseded_by() is another; it
    // may not wait for this object. Null: no longer. No call of the one before is under way
    // afterwards.
    void on_change(std::function<void()> call);

    // The VM has shut down and all that it put out has left; nothing but the destructor follows.
    // Waits for the last record for two deadlines at most; an error where the storage has not
    // taken it by then: the next start waits for the lease.
    Result<void> end();

  private:
    class Work;

    explicit Ownership(std::unique_ptr<Work> work);

    std::unique_ptr<Work> work_;
};

}  // namespace ftvmm::lock
