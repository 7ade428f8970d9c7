#include "node/vcpu_thread.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"

namespace ftvmm::node {

namespace {

// A guest's first moments are not held against its lateness: all of a kernel is written at once.
constexpr std::chrono::seconds kSettledIn{1};

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
    const Instant now = clock_.now();
    Guest guest(machine, std::move(timer), now - start.time_since_epoch());
    // It may stand where it waits for just that.
    if (start != GuestTime{}) give_time(guest, now);
    End end = run_to_end(guest);
    const bool is_followed = recording_ != nullptr && hold_ != nullptr;
    if (is_followed && std::holds_alternative<end::Crashed>(end)) {
        // Where this processor could not go on is no landmark that another one comes to: nothing is
        // told of it, and what waits for more leaves where the guest goes on.
        let_out();
    } else {
        release_outputs(guest.machine);
        wait_for_outputs(guest);
    }
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
        const bool is_slowed = control_.duty_percent() < 100;
        const Instant begun = is_slowed ? clock_.now() : Instant{};
        const auto stop = guest.machine.run();
        waker.end_run();
        if (is_slowed) rest_after(begun);
        if (!stop) return end::Crashed{stop.error().line()};
        if (auto end = handle(guest, *stop)) return std::move(*end);
    }
}

// In pieces that an input hardly feels. What was slept too long counts for what comes next.
void VcpuThread::rest_after(Instant begun) {
    constexpr std::chrono::milliseconds kLeast{2};
    constexpr std::chrono::milliseconds kMost{20};
    const Instant now = clock_.now();
    const std::int64_t percent = control_.duty_percent();
    owed_rest_ += (now - begun) * (100 - percent) / percent;
    if (owed_rest_ < kLeast) return;
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(owed_rest_, kMost));
    owed_rest_ -= clock_.now() - now;
}

bool VcpuThread::prepare(Guest& guest) {
    let_out();
    if (!guest.at_landmark && !make_landmark(guest)) return true;
    release_outputs(guest.machine);
    const bool has_new = take_news(guest);
    if (std::exchange(guest.has_news, false) || has_new) {
        ports_.flush();
        control_.answer_calls(guest.machine);
        give_due_time(guest);
        give_inputs(guest);
        // Last: a disk has room for a request when the end of another was taken.
        ports_.retry();
        guest.woken_at.reset();
    } else if (ports_.has_unwanted() || ports_.has_answers()) {
        give_inputs(guest);
    }
    if (!guest.halted && guest.machine.shows_time()) give_time(guest, clock_.now());
    const bool is_full = ports_.is_congested() || (hold_ != nullptr && hold_->is_full());
    const bool may_run = !guest.halted && !is_full;
    cover_deadline(guest, may_run);
    if (recording_ != nullptr) {
        const auto written = recording_->at_landmark(guest.machine, clock_.now(), !may_run);
        if (!written) guest.failed = written.error();
    }
    return may_run;
}

bool VcpuThread::take_news(Guest& guest) {
    if (!control_.waker().take_news()) return false;
    const auto woken_at = control_.waker().take_wake_time();
    if (!guest.woken_at) guest.woken_at = woken_at;
    return true;
}

bool VcpuThread::make_landmark(Guest& guest) {
    if (take_news(guest)) {
        guest.has_news = true;
        ports_.flush();
        control_.answer_calls(guest.machine);
    }
    // Of a guest that is not recorded any more each place is as good as another.
    if (recording_ == nullptr) return guest.at_landmark = true;
    const Instant now = clock_.now();
    guest.timer.passed(now);
    if (!guest.waiting_since && guest.has_news && ports_.has_input(guest.machine)) {
        guest.waiting_since = guest.woken_at.value_or(now);
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

void VcpuThread::release_outputs(replay::GuestMachine& machine) {
    for (replay::Output& output : machine.take_outputs()) {
        ++statistics_.outputs.at(output.index());
        const auto* request = std::get_if<replay::output::DiskRequest>(&output);
        FTVMM_CHECK(request == nullptr || !request->place.is_any() ||
                        (recording_ == nullptr && hold_ == nullptr),
                    "disks do not reach the memory of a guest that is recorded");
        std::optional<replay::Seq> mark;
        const bool waits = hold_ != nullptr && must_wait(output);
        if (recording_ != nullptr) {
            // What is printed comes byte by byte, and nobody misses a few milliseconds of it.
            const bool is_text = std::holds_alternative<replay::output::ConsoleBytes>(output);
            mark = recording_->output(machine, waits && !is_text);
        }
        put_out(mark, std::move(output), waits);
    }
}

void VcpuThread::put_out(std::optional<replay::Seq> mark, replay::Output&& output, bool waits) {
    if (!waits) return ports_.release(std::move(output));
    if (std::holds_alternative<replay::output::DiskRequest>(output)) ++held_requests_;
    hold_->hold(mark, std::move(output));
}

void VcpuThread::put_out_again(std::vector<replay::Output> outputs) {
    for (replay::Output& output : outputs) {
        const bool waits = hold_ != nullptr && must_wait(output);
        put_out(std::nullopt, std::move(output), waits);
    }
}

// What nobody outside can see need not wait, but a read for the writes that came before it.
bool VcpuThread::must_wait(const replay::Output& output) const {
    if (const auto* request = std::get_if<replay::output::DiskRequest>(&output)) {
        return request->operation != replay::output::DiskOperation::kRead || held_requests_ > 0;
    }
    return std::holds_alternative<replay::output::Packet>(output) ||
           std::holds_alternative<replay::output::ConsoleBytes>(output);
}

void VcpuThread::let_out() {
    if (hold_ == nullptr) return;
    while (auto output = hold_->take_free()) {
        if (std::holds_alternative<replay::output::DiskRequest>(*output)) --held_requests_;
        ports_.release(std::move(*output));
    }
}

// What a guest has put out before its end leaves as all the rest of it does.
void VcpuThread::wait_for_outputs(Guest& guest) {
    if (recording_ != nullptr) recording_->flush(guest.machine);
    let_out();
    while (hold_ != nullptr && !hold_->is_empty() && !control_.is_stopping()) {
        control_.waker().wait();
        (void)control_.waker().take_news();
        control_.answer_calls(guest.machine);
        let_out();
    }
}

void VcpuThread::apply(replay::GuestMachine& machine, const replay::Input& input) {
    ++statistics_.inputs.at(input.index());
    if (recording_ != nullptr) recording_->input(machine, input);
    machine.apply(input);
}

// Before `input` is applied.
void VcpuThread::note_lateness(const Guest& guest, const replay::Input& input) {
    if (!guest.woken_at || *guest.woken_at - guest.zero < kSettledIn) return;
    const auto late = clock_.now() - *guest.woken_at;
    if (std::holds_alternative<replay::input::Packet>(input)) {
        statistics_.packet_lateness.add(late);
    } else if (std::holds_alternative<replay::input::DiskCompletion>(input)) {
        statistics_.disk_lateness.add(late);
    }
}

void VcpuThread::give_time(Guest& guest, Instant now) {
    const auto due = guest.machine.next_deadline();
    if (due) {
        const Instant due_at = guest.zero + due->time_since_epoch();
        // Else the guest makes up for expiries that it had missed when it was last told the time.
        const bool is_new = due_at > guest.told_at;
        if (due_at <= now && is_new && due->time_since_epoch() >= kSettledIn) {
            statistics_.tick_lateness.add(now - due_at);
        }
    }
    guest.told_at = now;
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
            const replay::Input view = view_of(*input);
            note_lateness(guest, view);
            apply(guest.machine, view);
            guest.halted = false;
        }
        release_outputs(guest.machine);
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
