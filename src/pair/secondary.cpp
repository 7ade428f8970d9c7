#include "pair/secondary.h"

#include <fmt/format.h>

#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "pair/beat_paths.h"
#include "pair/clone_target.h"
#include "pair/io_loop.h"
#include "pair/meeting.h"
#include "pair/secondary_link.h"
#include "pair/takeover_wait.h"

namespace ftvmm::pair {

namespace {

using Step = SecondaryStatus::Step;

template <class Act>
void observe(const SecondaryOptions& options, Act act) {
    if (options.observer != nullptr) options.observer->change(act);
}

// Whether this host may bid for the VM once the Primary is lost, and if not, why.
std::optional<std::string> refusal(const SecondaryOptions& options, const SecondaryLink& link) {
    if (options.ownership == nullptr) return "no storage decides who goes on";
    if (!link.protected_in()) return "the pair was not complete yet";
    if (const auto stands = options.ownership->bid_stands(); !stands) return stands.error().line();
    if (link.goodbye() == ftlink::GoodbyeReason::kDetaches) return "the Primary goes on";
    return std::nullopt;
}

// True: it is time to bid, as all that the Primary may take for a promise of this host has ended;
// false: `stops`.
bool let_promise_end(const SecondaryOptions& options, const SecondaryLink& link,
                     const std::atomic<bool>& stops) {
    constexpr std::chrono::milliseconds kLookEvery{10};
    const SystemClock clock;
    const TakeoverWait wait{.began = clock.now(),
                            .promised_at = link.promised_at(),
                            .dead_after = options.beats.dead_after,
                            .is_freed = link.goodbye() == ftlink::GoodbyeReason::kHandsOver};
    while (!wait.is_over(clock.now(), link.is_primary_heard()) && !stops)
        std::this_thread::sleep_for(kLookEvery);
    return !stops;
}

// What goes on here; nothing where another host goes on.
Result<std::optional<TakenOver>> succeed(const SecondaryOptions& options, FollowEnd end,
                                         const std::string& host, const SecondaryLink& link,
                                         const std::atomic<bool>& stops) {
    std::optional<TakenOver> taken;
    const SystemClock clock;
    TakeoverTimes times;
    times.lost = link.lost_at();
    times.caught_up = clock.now();
    const std::string why = link.lost() ? link.lost()->line() : std::string("it has left");
    if (const auto refused = refusal(options, link)) {
        options.log(
            fmt::format("the Primary is lost ({}); nothing is taken over: {}", why, *refused));
        return taken;
    }
    options.log(fmt::format("the Primary is lost ({}): the storage decides who goes on", why));
    observe(options, [](SecondaryStatus& status) {
        status.step = Step::kContests;
        status.paths.clear();
    });
    if (options.makes_ready) options.makes_ready();
    // Before this host may win: nothing fails behind that.
    std::unique_ptr<machine::KvmMachine> machine;
    if (end.machine) {
        machine.reset(dynamic_cast<machine::KvmMachine*>(end.machine.get()));
        FTVMM_CHECK(machine != nullptr, "what follows is a machine of this host");
        (void)end.machine.release();
        FTVMM_TRY(machine->run_alone());
    }
    if (!let_promise_end(options, link, stops)) return taken;
    times.promise_over = clock.now();
    // From here on it may win at any time, and then nobody else goes on: to end now could end the
    // VM on both hosts.
    const std::atomic<bool> goes_on{false};
    FTVMM_ASSIGN(const auto outcome, options.ownership->contest(goes_on));
    if (const auto* elsewhere = std::get_if<lock::outcome::Elsewhere>(&outcome)) {
        options.log("nothing is taken over: " + elsewhere->why);
        return taken;
    }
    if (const auto* lost = std::get_if<lock::outcome::Lost>(&outcome)) {
        options.log(fmt::format("host {} owns the VM in generation {}: nothing is taken over",
                                lost->owner.host, lost->owner.generation.value()));
        return taken;
    }
    times.won = clock.now();
    taken.emplace();
    taken->times = times;
    taken->machine = std::move(machine);
    taken->lost_host = host;
    taken->host_answers = link.host_answers();
    // Its clock has gone on meanwhile.
    taken->start = end.time + (times.won - end.time_at);
    taken->put_again = std::move(end.in_flight);
    const std::string where = taken->machine
                                  ? fmt::format("at exit {}", taken->machine->landmark().exits)
                                  : std::string("as it starts anew");
    options.log(
        fmt::format("this host takes the VM over, in generation {}, {}; {} of its "
                    "requests are put again",
                    options.ownership->generation().value(), where, taken->put_again.size()));
    return taken;
}

// What a clone that comes over tells on the way.
std::function<void(const CloneTarget&)> teller(const SecondaryOptions& options) {
    return [&options, round = std::uint32_t{0}](const CloneTarget& clone) mutable {
        observe(options, [&](SecondaryStatus& status) {
            status.round = clone.round().number;
            status.round_pages = clone.round().pages;
            status.pages = clone.pages();
        });
        if (clone.round().number == round) return;
        round = clone.round().number;
        options.log(fmt::format("round {} of the clone: {} pages", round, clone.round().pages));
    };
}

// What the Primary's word that this host may take over leads to: a bid, and an answer once the
// storage has taken that.
class Bid {
  public:
    Bid(const SecondaryOptions& options, SecondaryLink& link) : options_(options), link_(link) {}

    void begin(const clone_message::Protected& protection) {
        generation_ = protection.generation;
        if (options_.ownership == nullptr) return refuse(Error("no storage decides who goes on"));
        options_.ownership->bid(generation_ + 1, protection.nonce);
        is_under_way_ = true;
    }
    void look() {
        if (!is_under_way_) return;
        const auto stands = options_.ownership->bid_stands();
        if (stands && !*stands) return;
        is_under_way_ = false;
        stands ? complete() : refuse(stands.error());
    }

  private:
    void refuse(const Error& why) {
        options_.log(why.with_context("this host can not take the VM over").line());
        link_.answer_protection(Failure(why));
    }
    void complete() {
        link_.answer_protection({});
        observe(options_, [this](SecondaryStatus& status) {
            status.protected_in = generation_;
            status.step = Step::kProtected;
        });
        options_.log(fmt::format("the pair is complete, in generation {}", generation_.value()));
    }

    const SecondaryOptions& options_;
    SecondaryLink& link_;
    Generation generation_;
    bool is_under_way_ = false;
};

// As the pair comes to be and gets on; on the link's thread.
void watch(const SecondaryOptions& options, SecondaryLink& link) {
    const auto bid = std::make_shared<Bid>(options, link);
    link.on_protected([bid](const clone_message::Protected& told) { bid->begin(told); });
    link.on_paths([&options](std::vector<PathStatus> paths) {
        observe(options, [&](SecondaryStatus& status) { status.paths = std::move(paths); });
    });
    link.on_progress([&options, bid](replay::Seq received, replay::Seq replayed) {
        bid->look();
        observe(options, [&](SecondaryStatus& status) {
            status.next_received = received;
            status.next_replayed = replayed;
        });
    });
}

Result<Followed> follow_one(const SecondaryOptions& options, const kvm::System& system,
                            const std::atomic<bool>& stops) {
    FTVMM_ASSIGN(auto target, CloneTarget::create(options.machine, options.identity));
    IoLoop loop;
    ftlink::LinkOptions link_options = options.link;
    if (options.ownership != nullptr) {
        FTVMM_ASSIGN(link_options.hello.generation, options.ownership->newest(stops));
    }
    link_options.hello.paths = paths_in(options.beats.networks, own_addresses());
    FTVMM_ASSIGN(auto greeted, meet(loop, link_options, stops));
    const std::string host = greeted.peer.host;
    options.log("the Primary is on host " + host + ": its VM comes over");
    observe(options, [&](SecondaryStatus& status) {
        status = {};
        status.step = Step::kClones;
        status.primary = host;
    });
    FTVMM_ASSIGN(auto beats, start_beats(loop, greeted, link_options.hello, options.beats));
    SecondaryLink link(loop, std::move(greeted), options.link.limits, std::move(beats),
                       options.beats.dead_after, std::move(target), stops);
    watch(options, link);
    FTVMM_ASSIGN(auto whole, link.take_clone(teller(options)));
    auto made = whole.make(system);
    if (!made) {
        link.fail_clone(made.error());
        return Failure(made.error());
    }
    // With storage that decides it is not before the Primary says so.
    if (options.ownership == nullptr) {
        observe(options, [](SecondaryStatus& status) { status.step = Step::kProtected; });
    }
    link.follow(made->first);
    options.log(fmt::format("the Secondary stands at exit {}, behind {} pages",
                            made->machine->landmark().exits, whole.pages()));
    FollowRun run;
    run.time = made->machine->now();
    run.machine = std::move(made->machine);
    run.first = made->first;
    run.make = options.make;
    run.replayed = [&link](replay::Seq next, GuestTime time) { link.replayed(next, time); };
    FTVMM_ASSIGN(auto end, follow(std::move(run), link.queue()));
    if (std::holds_alternative<follow_end::Ended>(end.how)) {
        link.leave();
        return followed::Ended{};
    }
    if (auto* diverged = std::get_if<follow_end::Diverged>(&end.how)) {
        link.diverged();
        return followed::Diverged{std::move(diverged->divergence)};
    }
    if (stops) return followed::Left{};
    // No promise is made any more.
    link.close();
    FTVMM_ASSIGN(auto taken, succeed(options, std::move(end), host, link, stops));
    if (!taken) return followed::Left{};
    return std::move(*taken);
}

}  // namespace

Result<Followed> follow_primary(const SecondaryOptions& options, const kvm::System& system,
                                const std::atomic<bool>& stops) {
    auto followed = follow_one(options, system, stops);
    if (followed && std::holds_alternative<TakenOver>(*followed)) return followed;
    observe(options, [&](SecondaryStatus& status) {
        status = {};
        if (!followed) status.trouble = followed.error().line();
    });
    return followed;
}

}  // namespace ftvmm::pair
