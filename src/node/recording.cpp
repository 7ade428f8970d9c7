#include "node/recording.h"

#include <utility>

namespace ftvmm::node {

void Recording::power_on(const replay::GuestMachine& machine, std::span<const std::byte> rng_seed) {
    (void)recorder_.power_on(machine, rng_seed);
    traced_exits_ = 0;
    hand_on();
}

void Recording::stopped(const replay::GuestMachine& machine) {
    const std::uint64_t exits = machine.landmark().exits;
    if (!traces_exits_ || exits == traced_exits_) return;
    traced_exits_ = exits;
    if (const auto exit = machine.last_exit()) (void)recorder_.trace(machine, *exit);
    if (recorder_.closed_bytes() > 0) hand_on();
}

void Recording::input(const replay::GuestMachine& machine, const replay::Input& input) {
    (void)recorder_.record(machine, input);
    if (recorder_.closed_bytes() > 0) hand_on();
}

replay::Seq Recording::output(const replay::GuestMachine& machine, bool is_awaited) {
    if (is_awaited && is_followed_) has_waiting_output_ = true;
    return recorder_.output_mark(machine);
}

Result<void> Recording::checkpoint(replay::GuestMachine& machine) {
    const Instant start = clock_.now();
    FTVMM_TRY(recorder_.checkpoint(machine));
    hand_on();
    const Instant end = clock_.now();
    settle_pace_.checkpointed(end);
    grace_.add(end - start);
    return {};
}

void Recording::end(const replay::GuestMachine& machine, replay::record::EndKind kind) {
    using replay::record::EndKind;
    // Elsewhere it may stand at no landmark.
    // Whoever follows may go on where this host could not; what is in no batch has not left.
    if (is_followed_ && kind == EndKind::kCrashed) return;
    const bool by_itself = kind != EndKind::kStopped && kind != EndKind::kCrashed;
    if (audits_ends_ && by_itself) (void)recorder_.audit(machine);
    (void)recorder_.end(machine, kind);
    hand_on();
}

Result<void> Recording::at_landmark(replay::GuestMachine& machine, Instant now, bool waits) {
    if (settle_ && settle_pace_.is_due(now)) {
        FTVMM_TRY(settle_(machine));
        settle_pace_.settled(now);
    }
    const bool is_urgent = std::exchange(has_waiting_output_, false) || (is_followed_ && waits);
    if (!is_urgent && now - flushed_at_ < flush_every_) return {};
    flushed_at_ = now;
    flush(machine);
    return {};
}

void Recording::flush(const replay::GuestMachine& machine) {
    if (!recorder_.has_open()) return;
    recorder_.flush(machine);
    hand_on();
}

}  // namespace ftvmm::node
