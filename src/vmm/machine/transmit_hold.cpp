#include "vmm/machine/transmit_hold.h"

#include "vmm/dev/ticks.h"

namespace ftvmm::machine {

Result<TransmitHold> TransmitHold::from_state(const State& state) {
    const bool is_empty = state == State{};
    const bool is_held = state.frames > 0 && state.frames < kMostFrames && state.bytes > 0 &&
                         state.bytes < kMostBytes && state.since_ns >= 0 &&
                         state.since_ns <= dev::kMaxGuestNs;
    if (!is_empty && !is_held) return fail("network card: more was sent than waits to be told");
    return TransmitHold(state);
}

void TransmitHold::add(std::size_t bytes, GuestTime now) {
    if (state_.frames == 0) state_.since_ns = dev::ns_of(now);
    ++state_.frames;
    state_.bytes += bytes;
}

bool TransmitHold::take_due(GuestTime now) {
    const auto due = deadline();
    if (!due) return false;
    const bool is_full = state_.frames >= kMostFrames || state_.bytes >= kMostBytes;
    if (!is_full && now < *due) return false;
    reset();
    return true;
}

std::optional<GuestTime> TransmitHold::deadline() const {
    if (state_.frames == 0) return std::nullopt;
    return dev::at_ns(state_.since_ns) + kLongest;
}

}  // namespace ftvmm::machine
