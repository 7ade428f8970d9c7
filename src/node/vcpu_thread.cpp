#include "node/vcpu_thread.h"

#include <algorithm>
#include <utility>

namespace ftvmm::node {

namespace {

// Signals reach the machine as long as this lives.
class InMachine {
  public:
    InMachine(Waker& waker, replay::GuestMachine& machine) : waker_(waker) {
        waker_.enter_machine(machine);
    }
    InMachine(const InMachine&) = delete;
    InMachine& operator=(const InMachine&) = delete;
    ~InMachine() { waker_.leave_machine(); }

  private:
    Waker& waker_;
};

}  // namespace

Result<End> VcpuThread::run(replay::GuestMachine& machine, GuestTime start) {
    const InMachine in_machine(control_.waker(), machine);
    FTVMM_ASSIGN(DeadlineTimer timer, DeadlineTimer::create());
    Guest guest(machine, std::move(timer), clock_.now() - start.time_since_epoch());
    End end = run_to_end(guest);
    release_outputs(guest);
    ports_.flush();
    statistics_.kicks = control_.waker().kicks();
    statistics_.lost_frames = ports_.lost_frames();
    return end;
}

End VcpuThread::run_to_end(Guest& guest) {
    Waker& waker = control_.waker();
    while (true) {
        const bool may_run = prepare(guest);
        if (guest.failed) return end::Crashed{guest.failed->line()};
        if (control_.is_stopping()) return end::Stopped{};
        if (!may_run) {
            ports_.flush();
            ++statistics_.waits;
            waker.wait();
            continue;
        }
        // News in the meantime: look at it first.
        if (!waker.begin_run()) continue;
        const auto stop = guest.machine.run();
        waker.end_run();
        if (!stop) return end::Crashed{stop.error().line()};
        if (auto end = handle(guest, *stop)) return std::move(*end);
    }
}

bool VcpuThread::prepare(Guest& guest) {
    if (!guest.at_landmark && !make_landmark(guest)) return true;
    release_outputs(guest);
    const bool has_new = control_.waker().take_news();
    if (std::exchange(guest.has_news, false) || has_new) {
        ports_.flush();
        control_.answer_calls(guest.machine);
        give_due_time(guest);
        give_inputs(guest);
        // Last: a disk has room for a request when the end of another was taken.
        ports_.retry();
    } else if (ports_.has_unwanted() || ports_.has_answers()) {
        give_inputs(guest);
    }
    if (!guest.halted && guest.machine.shows_time()) give_time(guest, clock_.now());
    const bool may_run = !guest.halted && !ports_.is_congested();
    cover_deadline(guest, may_run);
    if (recording_ != nullptr) {
        const auto written = recording_->at_landmark(guest.machine, clock_.now());
        if (!written) guest.failed = written.error();
    }
    return may_run;
}

bool VcpuThread::make_landmark(Guest& guest) {
    if (control_.waker().take_news()) {
        guest.has_news = true;
        ports_.flush();
        control_.answer_calls(guest.machine);
    }
    const Instant now = clock_.now();
    guest.timer.passed(now);
    if (!guest.waiting_since && guest.has_news && ports_.has_input(guest.machine)) {
        guest.waiting_since = now;
    }
    const auto due = checkpoint_due(guest);
    if (!due) return false;
    if (now < *due) {
        guest.timer.cover(*due);
        return false;
    }
    const auto made = recording_->checkpoint(guest.machine);
    if (!made) {
        guest.failed = made.error();
        return false;
    }
    ++statistics_.checkpoints;
    statistics_.checkpoint_time += clock_.now() - now;
    guest.at_landmark = true;
    guest.has_news = true;
    guest.waiting_since.reset();
    return true;
}

// When something will have waited for too long.
std::optional<Instant> VcpuThread::checkpoint_due(const Guest& guest) const {
    std::optional<Instant> due;
    if (guest.waiting_since) due = *guest.waiting_since + recording_->grace().for_input();
    if (const auto tick = guest.machine.next_deadline()) {
        const Instant tick_due =
            guest.zero + tick->time_since_epoch() + recording_->grace().for_tick();
        due = due ? std::min(*due, tick_due) : tick_due;
    }
    return due;
}

std::optional<End> VcpuThread::handle(Guest& guest, const replay::Stop& stop) {
    ++statistics_.stops.at(stop.index());
    guest.at_landmark =
        recording_ == nullptr || !std::holds_alternative<replay::stop::Kicked>(stop);
    if (guest.at_landmark) guest.waiting_since.reset();
    if (guest.at_landmark && recording_ != nullptr) recording_->stopped(guest.machine);
    if (std::holds_alternative<replay::stop::NeedsTime>(stop)) {
        give_time(guest, clock_.now());
    } else if (std::holds_alternative<replay::stop::Halted>(stop)) {
        guest.halted = true;
    } else if (std::holds_alternative<replay::stop::Kicked>(stop)) {
        // A kick that came too late for its news would else end every run from here on.
        guest.machine.clear_kick();
    } else if (std::holds_alternative<replay::stop::PoweredOff>(stop)) {
        return end::PoweredOff{};
    } else if (const auto* reset = std::get_if<replay::stop::Reset>(&stop)) {
        return end::Reset{reset->triple_fault};
    } else if (const auto* crashed = std::get_if<replay::stop::Crashed>(&stop)) {
        return end::Crashed{crashed->why};
    }
    return std::nullopt;
}

void VcpuThread::release_outputs(Guest& guest) {
    for (replay::Output& output : guest.machine.take_outputs()) {
        ++statistics_.outputs.at(output.index());
        if (recording_ != nullptr) recording_->output(guest.machine);
        ports_.release(std::move(output));
    }
}

void VcpuThread::apply(replay::GuestMachine& machine, const replay::Input& input) {
    ++statistics_.inputs.at(input.index());
    if (recording_ != nullptr) recording_->input(machine, input);
    machine.apply(input);
}

void VcpuThread::give_time(Guest& guest, Instant now) {
    apply(guest.machine, replay::input::Time{GuestTime(now - guest.zero)});
    guest.halted = false;
}

void VcpuThread::give_due_time(Guest& guest) {
    const Instant now = clock_.now();
    guest.looked_at = now;
    guest.timer.passed(now);
    const auto deadline = guest.machine.next_deadline();
    if (deadline && guest.zero + deadline->time_since_epoch() <= now) give_time(guest, now);
}

void VcpuThread::give_inputs(Guest& guest) {
    do {
        while (const auto input = ports_.next_input(guest.machine)) {
            apply(guest.machine, view_of(*input));
            guest.halted = false;
        }
        release_outputs(guest);
    } while (ports_.has_answers());
}

void VcpuThread::cover_deadline(Guest& guest, bool may_run) {
    const auto deadline = guest.machine.next_deadline();
    if (!deadline) return;
    if (recording_ != nullptr && may_run) {
        // Before that, a landmark of its own makes do.
        guest.timer.cover(guest.zero + deadline->time_since_epoch() +
                          recording_->grace().for_tick());
        return;
    }
    // A timer that is always due would leave the guest no time to run: its expiries are merged.
    constexpr std::chrono::microseconds kLeast{100};
    guest.timer.cover(
        std::max(guest.zero + deadline->time_since_epoch(), guest.looked_at + kLeast));
}

}  // namespace ftvmm::node
