#include "lock/ownership_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/quiet_thread.h"
#include "base/random.h"
#include "lock/owner.h"

namespace ftvmm::lock {

namespace {

// Who waits looks that often whether it should stop.
constexpr std::chrono::milliseconds kLookEvery{100};
// The lease is of a clock that goes on while the host sleeps, and condition variables wait by one
// that does not.
constexpr std::chrono::milliseconds kLongestWait{1000};

struct Answer {
    std::uint64_t id;
    Reply reply;
};

Failure stopped(std::string_view what) {
    return fail(fmt::format("{} was stopped before it was done", what));
}

bool is_text(const std::string& text) {
    return !text.empty() && text.size() <= Claim::kMaxText &&
           std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

class Ownership::Work {
  public:
    // `locks` is of the same folder: to take a lock may wait for a host that died, and a lease that
    // is not renewed meanwhile would end.
    Work(OwnershipOptions options, std::unique_ptr<StorageDriver> storage,
         std::unique_ptr<StorageDriver> locks)
        : options_(std::move(options)),
          storage_(std::move(storage)),
          locks_(std::move(locks)),
          owner_({options_.vm, options_.host, options_.boot_id}, options_.times, entropy_) {
        thread_ = quiet_thread([this] { run(); });
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    ~Work() {
        {
            const std::lock_guard lock(mutex_);
            is_stopping_ = true;
            wakes_.notify_one();
        }
        thread_.join();
        storage_.reset();  // They answer until then.
        locks_.reset();
    }

    // Any thread. What `change` does to the owner is acted on.
    template <class Change>
    void apply(Change change) {
        const std::lock_guard lock(mutex_);
        change(owner_);
        publish();
        wakes_.notify_one();
    }
    template <class Look>
    auto look(Look look) const {
        const std::lock_guard lock(mutex_);
        return look(owner_);
    }
    // Waits for an outcome; nothing if `stops` came first. `watch` is called now and then, with
    // nothing held.
    std::optional<Outcome> wait(const std::atomic<bool>& stops,
                                const std::function<void()>& watch) {
        std::unique_lock lock(mutex_);
        while (true) {
            auto outcome = owner_.take_outcome();
            lock.unlock();
            watch();
            if (outcome || stops) return outcome;
            lock.lock();
            if (!owner_.has_outcome()) (void)changed_.wait_for(lock, kLookEvery);
        }
    }
    bool wait_until_ended() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 2 * options_.deadline,
                                 [this] { return owner_.has_ended(); });
    }
    void on_change(std::function<void()> call) {
        const std::lock_guard lock(call_mutex_);
        call_ = std::move(call);
    }
    [[nodiscard]] Instant holds_until() const {
        return Instant(BootClock::duration(holds_until_.load()));
    }
    [[nodiscard]] StorageDriver& storage() { return *storage_; }

  private:
    void run();
    void turn(std::vector<Answer>& answers);
    void publish();
    void say(const std::string& what) const {
        if (options_.log) options_.log(what);
    }

    OwnershipOptions options_;
    SystemClock clock_;
    SystemEntropy entropy_;
    std::unique_ptr<StorageDriver> storage_;
    std::unique_ptr<StorageDriver> locks_;

    mutable std::mutex mutex_;  // Of all below.
    std::condition_variable wakes_;
    std::condition_variable changed_;
    Owner owner_;
    std::vector<Answer> answers_;
    bool is_stopping_ = false;
    bool has_changed_ = false;
    std::optional<Claim> superseded_by_;  // As it was told last.

    // Read without the mutex.
    std::atomic<BootClock::rep> holds_until_{Instant::min().time_since_epoch().count()};
    std::mutex call_mutex_;  // Of the call, and held while it is made.
    std::function<void()> call_;
    std::thread thread_;
};

// With the mutex held.
void Ownership::Work::publish() {
    const BootClock::rep until = owner_.holds_until().time_since_epoch().count();
    if (holds_until_.exchange(until) != until) has_changed_ = true;
    if (superseded_by_ != owner_.superseded_by()) {
        superseded_by_ = owner_.superseded_by();
        has_changed_ = true;
    }
}

void Ownership::Work::turn(std::vector<Answer>& answers) {
    const Instant now = clock_.now();
    for (const Answer& answer : answers)
        owner_.step(answer.id, answer.reply, now);
    answers.clear();
    while (auto asked = owner_.take_request(clock_.now())) {
        const bool is_lock = std::holds_alternative<request::TakeLock>(asked->request);
        StorageDriver& storage = is_lock ? *locks_ : *storage_;
        storage.ask(std::move(asked->request), [this, id = asked->id](Reply reply) {
            const std::lock_guard lock(mutex_);
            answers_.push_back({id, std::move(reply)});
            wakes_.notify_one();
        });
    }
    publish();
    changed_.notify_all();
}

void Ownership::Work::run() {
    std::string told_trouble;
    Generation told_generation;
    std::unique_lock lock(mutex_);
    while (!is_stopping_) {
        std::vector<Answer> answers = std::exchange(answers_, {});
        turn(answers);
        const bool has_changed = std::exchange(has_changed_, false);
        const std::string trouble = owner_.trouble();
        const Generation generation = owner_.generation();
        const auto superseded_by = owner_.superseded_by();
        lock.unlock();
        if (has_changed) {
            const std::lock_guard call_lock(call_mutex_);
            if (call_) call_();
        }
        if (std::exchange(told_trouble, trouble) != trouble) {
            say(trouble.empty() ? "the shared storage does what it should again" : trouble);
        }
        if (std::exchange(told_generation, generation) != generation) {
            if (generation != Generation()) {
                say(fmt::format("this host owns generation {}", generation.value()));
            } else if (superseded_by) {
                say(fmt::format("host {} owns generation {}", superseded_by->host,
                                superseded_by->generation.value()));
            }
        }
        lock.lock();
        if (is_stopping_ || has_changed_ || !answers_.empty()) continue;
        const Instant next = owner_.retry_at();
        const Instant now = clock_.now();
        if (next <= now) continue;
        const auto longest = BootClock::duration(kLongestWait);
        // Far-off instants can not be subtracted from.
        (void)wakes_.wait_for(lock, next > now + longest ? longest : next - now);
    }
}

Result<std::unique_ptr<Ownership>> Ownership::open(OwnershipOptions options) {
    FTVMM_TRY(options.times.check());
    if (!is_text(options.host) || !is_text(options.boot_id)) {
        return fail("this host's name or boot id can not be written",
                    fmt::format("name the host in 1 to {} printable characters", Claim::kMaxText));
    }
    const StorageOptions storage_options{
        .folder = options.folder, .deadline = options.deadline, .hook = options.hook};
    FTVMM_ASSIGN(auto storage, StorageDriver::open(storage_options));
    FTVMM_ASSIGN(auto locks, StorageDriver::open(storage_options));
    return std::unique_ptr<Ownership>(new Ownership(
        std::make_unique<Work>(std::move(options), std::move(storage), std::move(locks))));
}

Ownership::Ownership(std::unique_ptr<Work> work) : work_(std::move(work)) {}

Ownership::~Ownership() = default;

Result<Generation> Ownership::newest(const std::atomic<bool>& stops) {
    while (!stops) {
        const Reply reply = work_->storage().ask_and_wait(request::FindNewest{});
        if (const auto* newest = std::get_if<reply::Newest>(&reply)) return newest->generation;
        std::this_thread::sleep_for(ElectionFsm::kRetryAfter);
    }
    return stopped("the search for the newest generation");
}

Result<Outcome> Ownership::cold_start(const std::atomic<bool>& stops,
                                      const std::function<void(const std::string&)>& tell) {
    work_->apply([](Owner& owner) { owner.start_cold(); });
    std::string told;
    const auto outcome = work_->wait(stops, [&] {
        const std::string waits_for = work_->look([](auto& owner) { return owner.waits_for(); });
        if (std::exchange(told, waits_for) != waits_for && tell) tell(waits_for);
    });
    if (outcome) return *outcome;
    work_->apply([](Owner& owner) { owner.stop_cold_start(); });
    return stopped("the start");
}

void Ownership::bid(Generation next, const Nonce& behind) {
    work_->apply([&](Owner& owner) { owner.bid(next, behind); });
}

Result<bool> Ownership::bid_stands() const {
    return work_->look([](auto& owner) { return owner.bid_stands(); });
}

Result<Outcome> Ownership::contest(const std::atomic<bool>& stops) {
    work_->apply([](Owner& owner) { owner.contest(); });
    if (const auto outcome = work_->wait(stops, [] {})) return *outcome;
    return stopped("the election");
}

Generation Ownership::generation() const {
    return work_->look([](auto& owner) { return owner.generation(); });
}

Nonce Ownership::nonce() const {
    return work_->look([](auto& owner) { return owner.nonce(); });
}

Instant Ownership::holds_until() const {
    return work_->holds_until();
}

std::optional<Claim> Ownership::superseded_by() const {
    return work_->look([](auto& owner) { return owner.superseded_by(); });
}

std::string Ownership::trouble() const {
    return work_->look([](auto& owner) { return owner.trouble(); });
}

bool Ownership::has_lock() const {
    return work_->look([](auto& owner) { return owner.has_lock(); });
}

void Ownership::on_change(std::function<void()> call) {
    work_->on_change(std::move(call));
}

Result<void> Ownership::end() {
    work_->apply([](Owner& owner) { owner.end(); });
    if (work_->wait_until_ended()) return {};
    return fail("the shared storage has not taken the word that this run has ended",
                "the next start waits until its lease is over");
}

}  // namespace ftvmm::lock
