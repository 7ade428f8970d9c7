#include "node/recording.h"

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

void Recording::output(const replay::GuestMachine& machine) {
    (void)recorder_.output_mark(machine);
}

Result<void> Recording::checkpoint(replay::GuestMachine& machine) {
    const Instant start = clock_.now();
    FTVMM_TRY(recorder_.checkpoint(machine));
    hand_on();
    settled_at_ = clock_.now();
    grace_.add(settled_at_ - start);
    return {};
}

void Recording::end(const replay::GuestMachine& machine, replay::record::EndKind kind) {
    using replay::record::EndKind;
    // Elsewhere it may stand at no landmark.
    const bool by_itself = kind != EndKind::kStopped && kind != EndKind::kCrashed;
    if (audits_ends_ && by_itself) (void)recorder_.audit(machine);
    (void)recorder_.end(machine, kind);
    hand_on();
}

Result<void> Recording::at_landmark(replay::GuestMachine& machine, Instant now) {
    if (now - settled_at_ >= kSettleEvery && settle_) {
        FTVMM_TRY(settle_(machine));
        settled_at_ = now;
    }
    if (now - flushed_at_ < kFlushEvery) return {};
    flushed_at_ = now;
    if (!recorder_.has_open()) return {};
    recorder_.flush(machine);
    hand_on();
    return {};
}

}  // namespace ftvmm::node
