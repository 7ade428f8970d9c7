#include "lock_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace ftvmm::lock::testing {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kTroubleEnds{40};
constexpr seconds kEnd{60};
constexpr milliseconds kStep{20};

}  // namespace

LockWorld::LockWorld(std::uint64_t seed, Mutant mutant)
    : random_(seed),
      mutant_(mutant),
      times_{.lease = milliseconds(3000), .margin = milliseconds(300), .renew = milliseconds(500)},
      trouble_(seed % 4 * 60) {
    for (std::size_t i = 0; i < kHosts; ++i) {
        clocks_.at(i).offset = seconds(random_.below(1'000'000));
        clocks_.at(i).rate = 1 + (static_cast<double>(random_.below(401)) - 200) * 1e-6;
        starts_at_.at(i) = up_to(seconds(2));
    }
}

Instant LockWorld::clock_of(const Run& run) const {
    const Clock& clock = clocks_.at(run.host);
    return Instant(clock.offset + Duration(static_cast<Duration::rep>(
                                      static_cast<double>(now_.count()) * clock.rate)));
}

LockWorld::Duration LockWorld::true_time(const Run& run, Instant instant) const {
    const Clock& clock = clocks_.at(run.host);
    const auto local = instant.time_since_epoch() - clock.offset;
    return Duration(static_cast<Duration::rep>(static_cast<double>(local.count()) / clock.rate));
}

LockWorld::Duration LockWorld::up_to(Duration bound) {
    return Duration(
        static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(bound.count()) + 1)));
}

bool LockWorld::is_troubled() const {
    return now_ < kTroubleEnds;
}

void LockWorld::broken(const std::string& what) {
    if (!broken_) broken_ = fmt::format("at {} ms: {}", now_ / milliseconds(1), what);
}

LockWorld::Run* LockWorld::find(std::uint64_t id) {
    const auto found = std::ranges::find_if(runs_, [id](const auto& run) { return run->id == id; });
    return found == runs_.end() ? nullptr : found->get();
}

LockWorld::Run* LockWorld::run_on(std::size_t host) {
    const auto found =
        std::ranges::find_if(runs_, [host](const auto& run) { return run->host == host; });
    return found == runs_.end() ? nullptr : found->get();
}

std::optional<std::string> LockWorld::run() {
    Duration next_step{};
    while (now_ < kEnd && !broken_) {
        Duration next = next_step;
        if (!events_.empty()) next = std::min(next, events_.front().at);
        now_ = std::max(now_, next);
        if (next_step <= now_) {
            if (is_troubled()) make_trouble();
            for (std::size_t host = 0; host < kHosts; ++host)
                if (run_on(host) == nullptr && starts_at_.at(host) <= now_) start(host);
            next_step = now_ + kStep;
        }
        while (!events_.empty() && events_.front().at <= now_) {
            std::ranges::pop_heap(events_, std::greater<>());
            Event event = std::move(events_.back());
            events_.pop_back();
            happen(std::move(event));
        }
        for (std::size_t i = 0; i < runs_.size(); ++i)
            if (clocks_.at(runs_[i]->host).paused_until <= now_) poll(*runs_[i]);
        std::erase_if(runs_, [](const auto& run) { return run->role == Role::kOver; });
        judge();
    }
    const bool is_run = std::ranges::any_of(runs_, [&](const auto& run) {
        return run->lease && clock_of(*run) < run->lease->holds_until();
    });
    if (!broken_ && !is_run) broken("all is well again, and nobody runs the VM");
    return broken_;
}

void LockWorld::make_trouble() {
    for (std::size_t host = 0; host < kHosts; ++host) {
        Run* const run = run_on(host);
        if (run == nullptr) continue;
        if (one_of_1000(2)) {
            ++counts_.crashes;
            end(*run);
        } else if (one_of_1000(2)) {
            clocks_.at(host).paused_until = now_ + up_to(seconds(random_.below(2) == 0 ? 6 : 1));
        } else if (one_of_1000(6)) {
            unreachable_until_.at(host) = now_ + up_to(seconds(6));
        } else if ((run->role == Role::kSolo || run->role == Role::kPrimary) && one_of_1000(1)) {
            end_cleanly(*run);
        } else if (run->role == Role::kSolo && one_of_1000(12)) {
            pair(*run);
        } else if (run->role == Role::kPrimary && one_of_1000(15)) {
            split(*run);
        }
    }
    // A server that gives up the lock of a host that it can not reach.
    if (locked_by_ != 0 && one_of_1000(8)) locked_by_ = 0;
}

Claim LockWorld::new_claim(const Run& run, Generation generation) {
    Claim claim;
    claim.generation = generation;
    claim.nonce = random_nonce(random_);
    claim.host = fmt::format("host{}", run.host);
    claim.boot_id = fmt::format("run{}", run.id);
    return claim;
}

void LockWorld::start(std::size_t host) {
    auto run = std::make_unique<Run>();
    run->id = ++last_run_;
    run->host = host;
    auto times = times_;
    if (mutant_ == Mutant::kDoesNotWait) {
        times = {.lease = milliseconds(30), .margin = milliseconds(3), .renew = milliseconds(5)};
    }
    run->cold_start.emplace(new_claim(*run, Generation(1)), times);
    runs_.push_back(std::move(run));
}

// The host of a run that starts gives way to a Secondary, which is in step at once. The pair's
// generation is published first: until then the Secondary may not contest.
void LockWorld::pair(Run& primary) {
    const auto free = std::ranges::find_if(runs_, [&](const auto& run) {
        const bool is_idle = run->role == Role::kStarting && run->host != primary.host;
        return is_idle && clocks_.at(run->host).paused_until <= now_;
    });
    if (free == runs_.end() || !primary.election->is_enrolled()) return;
    Run& secondary = **free;
    if (locked_by_ == secondary.id) locked_by_ = 0;
    secondary.id = ++last_run_;  // Another process.
    secondary.cold_start.reset();
    secondary.role = Role::kSecondary;
    primary.secondary = secondary.id;
    primary.role = Role::kPrimary;
    primary.election->contest();
}

// Each has lost the other. The Primary's gate shuts before the Secondary contests.
void LockWorld::split(Run& primary) {
    Run* const secondary = find(primary.secondary);
    if (secondary == nullptr || secondary->role != Role::kSecondary || !secondary->election) return;
    primary.role = Role::kContesting;
    primary.was_primary = true;
    primary.election->contest();
    secondary->contests_at = now_ + up_to(seconds(1));
}

void LockWorld::end(Run& run) {
    run.role = Role::kOver;
    starts_at_.at(run.host) = now_ + up_to(seconds(3));
    if (locked_by_ == run.id) {
        lock_free_at_ = now_ + up_to(seconds(2));
        locked_by_ = 0;
    }
    for (const auto& other : runs_) {
        // The peer is lost without a split: each finds out by itself.
        if (other->role == Role::kPrimary && other->secondary == run.id && other->election) {
            // One that is yet to be published is lost by nobody: the Primary goes on alone.
            if (!members_[other->generation].contains(run.id)) continue;
            other->role = Role::kContesting;
            other->was_primary = true;
            other->election->contest();
        } else if (run.secondary == other->id && other->role == Role::kSecondary) {
            if (other->election) {
                other->contests_at = now_ + up_to(seconds(1));
            } else {
                end(*other);
            }
        }
    }
}

// The guest has shut down: nothing leaves any more. The Secondary is told, or it takes its Primary
// for lost.
void LockWorld::end_cleanly(Run& run) {
    if (!run.lease) return;
    if (mutant_ == Mutant::kActsAfterEnd) run.acts_until = run.lease->holds_until();
    Run* const secondary = find(run.secondary);
    run.role = Role::kEnding;
    run.secondary = 0;
    run.election.reset();
    run.lease->end();
    if (secondary == nullptr || secondary->role != Role::kSecondary) return;
    if (secondary->election && random_.below(2) == 0) {
        secondary->contests_at = now_ + up_to(seconds(1));
    } else {
        end(*secondary);
    }
}

void LockWorld::poll(Run& run) {
    const Instant now = clock_of(run);
    if (run.role == Role::kSecondary && run.contests_at <= now_) {
        run.role = Role::kContesting;
        run.election->contest();
    }
    if (run.cold_start && !run.cold_start->outcome()) {
        run.cold_start->tick(now);
        settle(run);
        if (run.cold_start) {
            if (const auto request = run.cold_start->take_request(now)) {
                ask(run, Asker::kColdStart, *request);
            }
        }
    }
    if (run.election && run.role != Role::kOver) {
        if (const auto request = run.election->take_request(now)) {
            ask(run, Asker::kElection, *request);
        }
    }
    if (run.role == Role::kEnding) settle(run);
    if (run.lease && run.role != Role::kOver) {
        if (const auto request = run.lease->take_request(now)) ask(run, Asker::kLease, *request);
    }
}

// Most are done and answered soon. Others wait until the storage can be reached, or are answered
// long after they were done, or are not answered in time: done before that, or long after it, or
// never.
void LockWorld::ask(Run& run, Asker asker, const Request& request) {
    const auto push = [&](Duration at, bool is_effect, Duration answered_after,
                          std::optional<Reply> reply) {
        events_.push_back(
            {at, order_++, run.id, asker, is_effect, answered_after, request, std::move(reply)});
        std::ranges::push_heap(events_, std::greater<>());
    };
    Duration latency = milliseconds(1) + up_to(milliseconds(30));
    if (!is_troubled()) return push(now_ + latency, true, Duration(0), std::nullopt);
    const Duration outage = std::max(unreachable_until_.at(run.host) - now_, Duration(0));
    // What was on its way as the storage went is done, and the reply waits; or all of it waits.
    if (outage > Duration(0) && random_.below(4) == 0) {
        return push(now_ + latency, true, outage, std::nullopt);
    }
    latency += outage;
    if (!one_of_1000(trouble_)) return push(now_ + latency, true, Duration(0), std::nullopt);
    const Duration patience = latency + milliseconds(100) + up_to(milliseconds(1000));
    switch (random_.below(5)) {
        case 0:
            return push(now_ + latency + up_to(seconds(3)), true, Duration(0), std::nullopt);
        case 1:
            return push(now_ + latency, true, up_to(seconds(3)), std::nullopt);
        case 2:
            push(now_ + latency, true, Duration(0), reply::Unknown{"no answer in time"});
            break;
        case 3:
            push(now_ + patience + up_to(seconds(4)), true, Duration(0), reply::Unknown{"late"});
            break;
        default:
            break;
    }
    push(now_ + patience, false, Duration(0), reply::Unknown{"Input/output error"});
}

Reply LockWorld::do_request(const Run& run, const Request& request) {
    if (const auto* write = std::get_if<request::WriteOwn>(&request)) {
        files_[write->name] = write->content;
    } else if (const auto* link = std::get_if<request::Link>(&request)) {
        if (files_.contains(link->to)) return reply::Taken{};
        if (!files_.contains(link->from)) return reply::Unknown{"no such claim"};
        files_[link->to] = files_[link->from];
    } else if (const auto* read = std::get_if<request::Read>(&request)) {
        if (!files_.contains(read->name)) return reply::Missing{};
        return reply::Content{files_[read->name]};
    } else if (std::holds_alternative<request::FindNewest>(request)) {
        Generation newest;
        while (files_.contains(generation_file(newest + 1)))
            newest = newest + 1;
        return reply::Newest{newest};
    } else if (std::holds_alternative<request::TakeLock>(request)) {
        const bool is_free = locked_by_ == 0 && lock_free_at_ <= now_;
        if (!is_free && locked_by_ != run.id) return reply::Taken{};
        locked_by_ = run.id;
    } else {
        const auto& record = std::get<request::WriteRecord>(request);
        files_[record.name] = record.content;
    }
    return reply::Done{};
}

// An effect with a reply of its own is one whose asker hears, or heard, something else.
void LockWorld::happen(Event event) {
    Run* const run = find(event.run);
    std::optional<Reply> reply = event.reply;
    if (event.is_effect) {
        const bool is_lock = std::holds_alternative<request::TakeLock>(event.request);
        // A lock goes with its process; a file that was asked for is written all the same.
        if (run == nullptr && is_lock) return;
        const Reply done = do_request(run != nullptr ? *run : Run{}, event.request);
        if (event.reply) {
            ++counts_.late_effects;
            return;
        }
        reply = done;
        if (event.answered_after > Duration(0)) {
            event.at = now_ + event.answered_after;
            event.is_effect = false;
            event.reply = done;
            events_.push_back(std::move(event));
            std::ranges::push_heap(events_, std::greater<>());
            return;
        }
    }
    if (run == nullptr || run->role == Role::kOver) return;
    // Of an election that is no more.
    if (event.asker == Asker::kElection && !run->election) return;
    Clock& clock = clocks_.at(run->host);
    if (clock.paused_until > now_) {
        // It waits in the process.
        event.at = clock.paused_until;
        event.is_effect = false;
        event.reply = std::move(reply);
        events_.push_back(std::move(event));
        std::ranges::push_heap(events_, std::greater<>());
        return;
    }
    answer(*run, event.asker, event.request, std::move(*reply));
}

void LockWorld::answer(Run& run, Asker asker, const Request& request, Reply reply) {
    const Instant now = clock_of(run);
    const bool is_link = std::holds_alternative<request::Link>(request);
    const bool is_taken = std::holds_alternative<reply::Taken>(reply);
    if (mutant_ == Mutant::kTakenIsWon && is_link && is_taken) reply = reply::Done{};
    if (asker == Asker::kColdStart) {
        if (run.cold_start) run.cold_start->step(reply, now);
    } else if (asker == Asker::kElection) {
        const bool is_read = std::holds_alternative<request::Read>(request);
        run.election->step(reply, now);
        const auto& outcome = run.election->outcome();
        if (is_read && outcome && std::holds_alternative<outcome::Won>(*outcome)) {
            ++counts_.own_claims_found;
        }
    } else if (run.lease) {
        const bool is_read = std::holds_alternative<request::Read>(request);
        if (mutant_ == Mutant::kDoesNotLook && is_read) reply = reply::Missing{};
        const Instant before = run.lease->holds_until();
        run.lease->step(reply, now);
        const bool is_renewed = run.lease->holds_until() > before;
        if (mutant_ == Mutant::kLeaseFromReply && is_renewed) {
            run.stretch = now + times_.lease - times_.margin - run.lease->holds_until();
        }
    }
    settle(run);
}

// What follows from the outcomes that there are.
void LockWorld::settle(Run& run) {
    if (run.lease && run.lease->superseded_by()) {
        ++counts_.superseded;
        return end(run);
    }
    if (run.role == Role::kEnding && run.lease->has_ended() && run.acts_until <= clock_of(run)) {
        ++counts_.ended;
        return end(run);
    }
    if (run.cold_start && run.cold_start->outcome()) {
        const bool is_won = std::holds_alternative<outcome::Won>(*run.cold_start->outcome());
        const Generation generation = run.cold_start->mine().generation;
        run.cold_start.reset();
        if (!is_won) return end(run);
        ++counts_.cold_starts;
        const auto record =
            decode_owner_record(files_[owner_record_file(Generation(generation.value() - 1))]);
        if (record && record->ended && record->generation + 1 == generation) {
            ++counts_.started_after_end;
        }
        won(run, generation, true);
        return go_solo(run, generation);
    }
    if (!run.election || !run.election->outcome()) return;
    if (std::holds_alternative<outcome::Lost>(*run.election->outcome())) {
        ++counts_.elections_lost;
        return end(run);
    }
    const Claim claim = run.election->mine();
    const Generation generation = claim.generation;
    if (run.role == Role::kContesting) {
        ++counts_.elections_won;
        won(run, generation, false);
        return go_solo(run, generation);
    }
    // A pair is published, and its Secondary told.
    ++counts_.published;
    won(run, generation, false);
    run.generation = generation;
    const Claim next = new_claim(run, generation + 1);
    run.election.emplace(mutant_ == Mutant::kReusesGeneration ? claim : next);
    run.lease->advance(next.nonce);
    Run* const secondary = find(run.secondary);
    if (secondary == nullptr || secondary->role != Role::kSecondary) {
        run.role = Role::kSolo;
        return;
    }
    members_[generation].insert(secondary->id);
    secondary->generation = generation;
    secondary->election.emplace(new_claim(*secondary, generation + 1));
}

void LockWorld::won(Run& run, Generation generation, bool is_cold) {
    const auto [winner, is_first] = winners_.emplace(generation, run.id);
    if (!is_first && winner->second != run.id) broken("a generation has two owners");
    if (!is_first && winner->second == run.id) broken("a generation is won twice");
    const auto before = members_.find(Generation(generation.value() - 1));
    const bool has_state = before != members_.end() && before->second.contains(run.id);
    if (!is_cold && !has_state) broken("who has not the VM's state wins it");
    members_[generation] = {run.id};
}

void LockWorld::go_solo(Run& run, Generation generation) {
    const bool is_cold = run.role == Role::kStarting;
    run.role = Role::kSolo;
    run.generation = generation;
    run.secondary = 0;
    run.election.emplace(new_claim(run, generation + 1));
    const Nonce next = run.election->mine().nonce;
    if (run.was_primary && !is_cold) {
        run.lease->advance(next);
    } else {
        OwnerRecord record;
        record.generation = generation;
        record.nonce = random_nonce(random_);
        run.lease.emplace(record, next, times_);
    }
    run.was_primary = false;
}

// At most one may act at any time: who is solo by its lease alone, a Primary of a pair as long as
// it has not lost its Secondary.
void LockWorld::judge() {
    int acting = 0;
    for (const auto& run : runs_) {
        const bool is_mutant = run->role == Role::kEnding && run->acts_until != Instant::min();
        if (is_mutant && now_ < true_time(*run, run->acts_until)) ++acting;
        const bool may = run->role == Role::kSolo || run->role == Role::kPrimary;
        if (!may || !run->lease || run->lease->holds_until() == Instant::min()) continue;
        if (now_ < true_time(*run, run->lease->holds_until() + run->stretch)) ++acting;
    }
    if (acting > 1) broken("two act at once");
}

}  // namespace ftvmm::lock::testing
