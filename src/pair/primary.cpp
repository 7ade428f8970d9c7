#include "pair/primary.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <utility>

#include "base/quiet_thread.h"
#include "pair/beat_paths.h"
#include "pair/meeting.h"

namespace ftvmm::pair {

namespace {

using machine::KvmMachine;

// What the Secondary takes to make its machine of a whole clone.
constexpr std::chrono::seconds kStandPatience{30};
constexpr std::chrono::milliseconds kRestAfterFailure{500};

double ms(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

const char* name_of(Protection protection) {
    switch (protection) {
        case Protection::kNeedsSecondary:
            return "needs a Secondary";
        case Protection::kClones:
            return "clones";
        case Protection::kProtected:
            return "protected";
        case Protection::kContests:
            return "has lost its Secondary, and asks the storage who goes on";
        case Protection::kSuperseded:
            return "stopped: another host owns the VM";
    }
    return "?";
}

Primary::Primary(PrimaryOptions options, node::VcpuControl& control)
    : options_(std::move(options)),
      control_(control),
      gate_([&control] { control.waker().wake(); }, options_.leases) {
    if (options_.ownership != nullptr) watch_ownership();
}

Primary::~Primary() {
    stops_ = true;
    if (thread_.joinable()) thread_.join();
    if (options_.ownership != nullptr) options_.ownership->on_change({});
}

void Primary::watch_ownership() {
    lock::Ownership& ownership = *options_.ownership;
    const auto look = [this, &ownership] {
        gate_.storage_holds(ownership.holds_until());
        if (const auto owner = ownership.superseded_by()) halt(*owner);
    };
    ownership.on_change(look);
    look();
}

// Who runs alone needs the storage's lease for what leaves, where that decides.
node::OutputHold* Primary::solo_hold() {
    return options_.ownership != nullptr ? &gate_ : nullptr;
}

void Primary::attach(node::VcpuThread& vcpu) {
    vcpu_ = &vcpu;
    gate_.open();
    vcpu.record(nullptr, solo_hold());
    thread_ = quiet_thread([this] { work(); });
}

void Primary::machine_ends(replay::GuestMachine& machine) {
    clone_is_cancelled_ = true;
    while (reads_memory_) {
        control_.answer_calls(machine);
        control_.waker().wait();
        (void)control_.waker().take_news();
    }
    clone_is_cancelled_ = false;
}

void Primary::finish(bool hands_over) {
    if (hands_over) gate_.shut();
    is_over_ = true;
    {
        const std::lock_guard guard(mutex_);
        constexpr std::chrono::seconds kPatience{2};
        const auto reason =
            hands_over ? ftlink::GoodbyeReason::kHandsOver : ftlink::GoodbyeReason::kDetaches;
        if (link_ != nullptr) link_->say_goodbye(reason, kPatience);
    }
    stops_ = true;
    if (thread_.joinable()) thread_.join();
}

PrimaryStatus Primary::status() const {
    const std::lock_guard guard(mutex_);
    PrimaryStatus status = status_;
    if (link_ != nullptr) {
        status.link = link_->figures();
        status.paths = link_->paths();
    }
    if (options_.ownership != nullptr) status.generation = options_.ownership->generation();
    status.holds = gate_.hold_times();
    return status;
}

void Primary::set(Protection protection) {
    const std::lock_guard guard(mutex_);
    status_.protection = protection;
}

void Primary::work() {
    announce();
    node::RateLimit failures;
    const SystemClock clock;
    while (!stops_ && options_.link) {
        if (options_.ownership != nullptr) {
            options_.link->hello.generation = options_.ownership->generation();
        }
        options_.link->hello.paths = paths_in(options_.beats.networks, own_addresses());
        auto met = meet(loop_, *options_.link, stops_);
        if (met) {
            if (!protect(std::move(*met))) return;
            continue;
        }
        if (stops_) return;
        if (failures.pass(clock.now())) {
            options_.log(met.error().with_context("the VM needs a Secondary").line());
        }
        std::this_thread::sleep_for(kRestAfterFailure);
    }
}

// More than once: a bridge may not forward at once what comes from a new port.
void Primary::announce() {
    if (options_.announcements.empty()) return;
    constexpr std::array kRests{std::chrono::milliseconds(0), std::chrono::milliseconds(100),
                                std::chrono::milliseconds(300), std::chrono::milliseconds(700)};
    for (const auto rest : kRests) {
        if (stops_) return;
        std::this_thread::sleep_for(rest);
        (void)control_.call(
            [this](replay::GuestMachine&) { vcpu_->put_out_again(options_.announcements); });
    }
}

// False: this host is no Primary any more.
bool Primary::protect(ftlink::Greeted greeted) {
    const std::string host = greeted.peer.host;
    auto beats = start_beats(loop_, greeted, options_.link->hello, options_.beats);
    if (!beats) {
        options_.log(beats.error().with_context("host " + host + " can not be watched").line());
        return true;
    }
    PrimaryLink link(
        loop_, std::move(greeted), options_.link->limits, std::move(*beats),
        options_.beats.dead_after, gate_, [this] { control_.waker().wake(); },
        [this] { return control_.is_stopping(); });
    {
        const std::lock_guard guard(mutex_);
        link_ = &link;
        status_.secondary = host;
        status_.protection = Protection::kClones;
    }
    options_.log("host " + host + " is here for the Secondary: the VM goes over while it runs");
    if (const auto done = bring_to_lockstep(link); done) {
        const PrimaryStatus now = status();
        options_.log(fmt::format(
            "the VM is protected: its Secondary is on host {} ({} pages in {} rounds, {:.1f} MiB; "
            "the guest stood still for {:.1f} ms)",
            host, now.clone.pages, now.clone.round,
            static_cast<double>(now.clone.bytes) / (1U << 20U), ms(now.clone.pause)));
        stay_in_lockstep(link);
    } else {
        options_.log(
            done.error()
                .with_context("the VM gets no Secondary on host " + host + ", and runs on alone")
                .line());
    }
    if (may_be_succeeded_) gate_.shut();
    {
        const std::lock_guard guard(mutex_);
        link_ = nullptr;
        status_.secondary.clear();
    }
    link.close();
    if (std::exchange(may_be_succeeded_, false) && !contest()) {
        // The recording goes with its link. An error: the run has ended, and used both for the last
        // time.
        (void)control_.call([this](replay::GuestMachine&) {
            vcpu_->record(nullptr, solo_hold());
            recording_.reset();
        });
        return false;
    }
    set(Protection::kNeedsSecondary);
    run_alone();
    return true;
}

// The Secondary may have gone live, or be about to: who of the two goes on is not for this host to
// say. Waits for as long as the storage is silent.
bool Primary::contest() {
    if (is_over_) return true;
    set(Protection::kContests);
    const auto outcome = options_.ownership->contest(stops_);
    if (!outcome) return false;
    if (const auto* lost = std::get_if<lock::outcome::Lost>(&*outcome)) {
        halt(lost->owner);
        return false;
    }
    // At once: a guest that starts anew waits for its disks, which may wait for this.
    gate_.open();
    options_.log(fmt::format("this host owns the VM alone, in generation {}",
                             options_.ownership->generation().value()));
    return true;
}

// For good. Any thread.
void Primary::halt(const lock::Claim& owner) {
    gate_.shut();
    {
        const std::lock_guard guard(mutex_);
        if (superseded_by_) return;
        superseded_by_ = owner;
        status_.protection = Protection::kSuperseded;
    }
    options_.log(
        fmt::format("host {} owns the VM in generation {}: this host has stopped it, and "
                    "nothing of it leaves any more",
                    owner.host, owner.generation.value()));
    control_.stop();
}

std::optional<lock::Claim> Primary::superseded_by() const {
    const std::lock_guard guard(mutex_);
    return superseded_by_;
}

Result<void> Primary::bring_to_lockstep(PrimaryLink& link) {
    CloneSource source;
    source.send = [&](ftlink::OutgoingFrame frame) { return link.send(std::move(frame)); };
    source.is_cancelled = [this] { return clone_is_cancelled_ || stops_; };
    source.release_outputs = [this](KvmMachine& machine) { vcpu_->release_outputs(machine); };
    source.lead = [&](KvmMachine& machine) { return lead(machine, link); };
    source.progress = [this, is_slowed = false](const CloneProgress& progress) mutable {
        if (progress.duty_percent < 100 && !std::exchange(is_slowed, true)) {
            options_.log(
                "the guest writes faster than its clone goes over: it is slowed down until "
                "little is left");
        }
        const std::lock_guard guard(mutex_);
        status_.clone = progress;
    };
    source.identity = options_.identity;
    reads_memory_ = true;
    const auto cloned = clone(control_, source);
    reads_memory_ = false;
    control_.waker().wake();
    if (!cloned) return Failure(cloned.error());
    {
        const std::lock_guard guard(mutex_);
        status_.clone = *cloned;
    }
    link.start_log(cloned->first);
    FTVMM_ASSIGN(const auto answer, link.next_clone_message(kStandPatience));
    if (const auto* failed = std::get_if<clone_message::Failed>(&answer)) {
        return fail("it can not make the machine: " + failed->why);
    }
    if (!std::holds_alternative<clone_message::Stands>(answer)) {
        return fail("it answers its clone with what no Secondary says");
    }
    return close_gate(link);
}

// Outputs wait from here on. Those before have left with nobody to take over for them; their marks
// lie before those to come, so that the first ack of the latter covers them all.
Result<void> Primary::close_gate(PrimaryLink& link) {
    link.watch();
    if (options_.ownership != nullptr) {
        // A generation of its own: the claims for the one behind it are both new.
        FTVMM_ASSIGN(const auto outcome, options_.ownership->contest(stops_));
        if (const auto* lost = std::get_if<lock::outcome::Lost>(&outcome)) {
            halt(lost->owner);
            return fail("another host owns the VM");
        }
    }
    replay::Seq left;  // Outputs before it have left through the open gate.
    FTVMM_TRY(control_.call([&](replay::GuestMachine&) {
        gate_.pair(link.figures().next_received);
        vcpu_->record(&*recording_, &gate_);
        left = recording_->next();
    }));
    if (options_.ownership == nullptr) return {};
    // From here on the Secondary may go live. Not before the gate waits, and not before it knows of
    // all that has left: it would contradict that.
    FTVMM_TRY(link.await_received(left, kStandPatience));
    may_be_succeeded_ = true;
    FTVMM_TRY(link.send(make_frame(CloneMessage(
        clone_message::Protected{options_.ownership->generation(), options_.ownership->nonce()}))));
    // Its storage may be away for a while: nothing waits for that but this.
    FTVMM_ASSIGN(const auto answer, link.next_clone_message(kStandPatience));
    if (const auto* failed = std::get_if<clone_message::Failed>(&answer)) {
        return fail("it can not take over: " + failed->why);
    }
    if (!std::holds_alternative<clone_message::Bids>(answer)) {
        return fail("it answers its protection with what no Secondary says");
    }
    return {};
}

Result<replay::Seq> Primary::lead(KvmMachine& machine, PrimaryLink& link) {
    FTVMM_TRY(machine.lead_from_here());
    recording_.emplace(
        link,
        [](replay::GuestMachine& guest) {
            return dynamic_cast<KvmMachine&>(guest).settle_dirty_pages();
        },
        node::Follower{.first = next_});
    if (options_.audits_ends) recording_->audit_ends();
    vcpu_->record(&*recording_, solo_hold());
    return next_;
}

void Primary::note(const LinkFigures& figures, Instant now) {
    const std::lock_guard guard(mutex_);
    status_.recent.look(now, figures.lag, figures.log_bytes);
}

void Primary::stay_in_lockstep(PrimaryLink& link) {
    {
        const std::lock_guard guard(mutex_);
        status_.protection = Protection::kProtected;
        status_.recent = {};
        ++status_.clones;
    }
    constexpr std::chrono::milliseconds kLookEvery{50};
    const SystemClock clock;
    std::uint32_t duty = 100;
    LinkFigures figures;
    while (!stops_ && !link.lost() && !figures.has_diverged && !figures.has_left) {
        link.wait(kLookEvery);
        figures = link.figures();
        note(figures, clock.now());
        if (figures.duty_percent == duty) continue;
        if (duty == 100) {
            options_.log(fmt::format(
                "the Secondary lags {:.0f} ms behind: the guest is slowed down until it keeps up",
                ms(figures.lag)));
        } else if (figures.duty_percent == 100) {
            options_.log("the Secondary keeps up again: the guest runs at full speed");
        }
        duty = figures.duty_percent;
        control_.set_duty_percent(duty);
    }
    control_.set_duty_percent(100);
    if (stops_ || is_over_) return;
    const std::lock_guard guard(mutex_);
    ++status_.lost;
    figures = link.figures();
    if (figures.has_diverged) {
        ++status_.diverged;
        options_.log("the Secondary has diverged: the VM runs on alone until it has another copy");
    } else if (figures.has_left) {
        options_.log("the Secondary has left, the VM runs on alone");
    } else {
        options_.log(link.lost()->with_context("the Secondary is lost").line());
    }
}

// Whatever state it is in, and if it still runs at all.
void Primary::run_alone() {
    (void)control_.call([this](replay::GuestMachine& guest) {
        gate_.open();
        vcpu_->let_out();
        vcpu_->record(nullptr, solo_hold());
        if (recording_) next_ = recording_->next();
        recording_.reset();
        const auto alone = dynamic_cast<KvmMachine&>(guest).run_alone();
        if (!alone) options_.log(alone.error().with_context("the guest stays tracked").line());
    });
}

}  // namespace ftvmm::pair
