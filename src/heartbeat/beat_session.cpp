#include "heartbeat/beat_session.h"

namespace ftvmm::heartbeat {

BeatSession::BeatSession(const PairIdentity& identity, const BeatKeys& keys)
    : identity_(identity), keys_(keys) {}

BeatBytes BeatSession::next(Role role, Instant now) {
    sent_ = sent_ + 1;
    sent_at_.at(sent_.value() % kRemembered) = now;
    Beat beat;
    beat.vm = identity_.vm;
    beat.generation = identity_.generation;
    beat.role = role;
    beat.number = sent_;
    beat.sent_at = now;
    if (role != Role::kGoingLive) beat.echo = window_.newest();
    if (beat.echo != BeatNumber()) promised_at_ = now;
    return encode_beat(beat, keys_.to_peer);
}

tl::expected<Beat, Refusal> BeatSession::take(std::span<const std::byte> datagram) {
    auto beat = decode_beat(datagram, keys_.from_peer);
    if (!beat) return beat;
    if (const auto refusal = refusal_of(*beat)) return tl::unexpected(*refusal);
    if (const auto refusal = window_.take(beat->number)) return tl::unexpected(*refusal);
    // Beats overtake each other: an older answer proves less, and takes nothing back. One that is
    // too old to be remembered proves nothing.
    if (beat->echo > answered_ && sent_ - beat->echo < kRemembered) {
        answered_ = beat->echo;
        answered_from_ = sent_at_.at(answered_.value() % kRemembered);
    }
    return beat;
}

std::optional<Refusal> BeatSession::refusal_of(const Beat& beat) const {
    if (beat.vm != identity_.vm) return Refusal::kVm;
    if (beat.generation != identity_.generation) return Refusal::kGeneration;
    if (beat.echo > sent_) return Refusal::kUnsent;
    return std::nullopt;
}

}  // namespace ftvmm::heartbeat
